"""The cable wire: to another port of the same model."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from ixyfwd.model.wires.contract import Jack, Plug, Wire
from ixyfwd.settings.reader import Table, one_of, shown

_PORT: Final = re.compile(r"[a-z0-9_-]{1,32}")


@dataclass(frozen=True)
class CableWire(Wire):
    """A cable to the port named `to`; both ports must name each other."""

    kind: ClassVar = "cable"
    main_key: ClassVar = "to"

    to: str

    @classmethod
    def read(cls, table: Table, folder: Path) -> Self:
        """Read the wire's table: key `to`."""
        table.need("to", "the name of the port at the other end")
        return cls(table.text("to", "", "the name of the port at the other end", _PORT))

    def problems(self, port: str, wires: Mapping[str, Wire | None]) -> Iterator[tuple[str, str]]:
        """Find what keeps the cable from leading to another port whose cable leads back.

        A far wire that could not be read has a problem of its own and makes none here.
        """
        far = wires.get(self.to)
        if not self.to:
            return
        if self.to == port:
            yield "to", f"found {shown(self.to)}, the port itself, expected another port"
        elif self.to not in wires:
            extra = f" ({one_of(wires)})" if wires else ""
            yield "to", f"found {shown(self.to)}, expected the name of a port{extra}"
        elif far is None or far.leads_to not in ("", port):
            extra = f'a port whose wire is {{ kind = "cable", to = "{port}" }}'
            yield "to", f"found {shown(self.to)}, whose wire does not lead back, expected {extra}"

    @property
    def leads_to(self) -> str | None:
        """The name of the port at the other end."""
        return self.to

    def attach(self, jack: Jack) -> Plug:
        """Plug the cable in. Raises UsageError if there is no such port, or the cable there leads elsewhere."""
        jack.lib.dp_plug_cable(jack.port, jack.far_end(self.to))
        return CablePlug(jack)


class CablePlug(Plug):
    """The plug of a cable, which only counts."""

    def stats(self) -> dict[str, Any]:
        """`sent` by the port, `received` over the cable, each with bytes incl. CRC."""
        far_end = self._jack.lib.dp_port_far_end(self._jack.port)
        keys = ("sent", "sent_bytes", "received", "received_bytes")
        return {key: int(getattr(far_end, key)) for key in keys}
