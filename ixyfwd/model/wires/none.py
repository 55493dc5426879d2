"""The wire without a far end, though the link is up: no frames come; frames sent are counted and discarded."""

from dataclasses import dataclass
from typing import Any, ClassVar

from ixyfwd.model.wires.contract import Jack, Plug, Wire


@dataclass(frozen=True)
class NoWire(Wire):
    """The wire without a far end."""

    kind: ClassVar = "none"

    def attach(self, jack: Jack) -> Plug:
        """Plug it in; it needs nothing and cannot fail."""
        jack.lib.dp_plug_none(jack.port)
        return NoPlug(jack)


class NoPlug(Plug):
    """The plug without a far end, which only counts."""

    def stats(self) -> dict[str, Any]:
        """`sent` and its bytes incl. CRC."""
        far_end = self._jack.lib.dp_port_far_end(self._jack.port)
        return {"sent": int(far_end.sent), "sent_bytes": int(far_end.sent_bytes)}
