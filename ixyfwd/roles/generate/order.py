"""What a worker that generates is asked to do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ixyfwd.roles.contract import PortLimits, RoleOrder, Sums
from ixyfwd.telemetry.counters import Word

if TYPE_CHECKING:
    from ixyfwd.telemetry.snapshot import GenerateReport  # noqa: F401 - in quotes: a worker has no use for it


@dataclass(frozen=True)
class Order(RoleOrder["GenerateReport"]):
    """The order of a worker that generates. See `engine.traffic.Frames`.

    `templates` as hexadecimal digits, `count` None = until stopped. `like_the_model`: whether the sink of a model's
    generator wire knows these frames.
    """

    role: ClassVar = "generate"
    command: ClassVar = "generate"
    receives: ClassVar = False

    templates: str
    flows: int
    sizes: tuple[int, ...]
    frame_ps: tuple[int, ...]
    schedule: tuple[int, ...]
    count: int | None
    like_the_model: bool = False

    def refusal(self, limits: PortLimits) -> str | None:
        """A sentence that refuses ports of a family without a generator, else None."""
        if limits.generator:
            return None
        return f"workers generate no frames on ports of family {limits.family}; use a port of another family"

    def uncounted(self, run: Sums, word: Callable[[Word], int], *, died: bool) -> int:
        """The number of frames by which asked = sent + tx_full + in flight misses."""
        return word(Word.ASKED) - run.sent - run.drops["tx_full"] - run.in_flight
