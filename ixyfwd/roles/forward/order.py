"""What a worker that forwards is asked to do."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

from ixyfwd.roles.contract import LoopPart, ProgramSpec, RoleOrder, frozen
from ixyfwd.telemetry.counters import Word

if TYPE_CHECKING:
    from ixyfwd.telemetry.snapshot import Report  # noqa: F401 - in quotes: a worker has no use for it


@dataclass(frozen=True)
class Order(RoleOrder["Report"]):
    """The order of a worker that forwards: a `LoopPart` and no more. See `LoopPart`."""

    role: ClassVar = "forward"
    command: ClassVar = "start"
    traffic_words: ClassVar = False
    restarts: ClassVar = True

    links: tuple[tuple[int, int], ...] = ()
    programs: tuple[ProgramSpec, ...] = ()
    fused: bool = False
    frame_op: str | None = None

    @property
    def program_blocks(self) -> int:
        """The number of counter blocks: one for each program."""
        return len(self.programs)

    def with_part(self, part: LoopPart) -> Self:
        """The order that `part` amounts to."""
        return type(self)(part.links, part.programs, part.fused, part.frame_op)

    def done(self, word: Callable[[Word], int]) -> bool | None:
        """Whether it is done: None, for forwarding has no end of its own."""
        return None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The order from its JSON. Settings of programs stay as JSON has them."""
        programs = tuple(ProgramSpec(**program) for program in data["programs"])
        return cls(**{**data, "links": frozen(data["links"]), "programs": programs})
