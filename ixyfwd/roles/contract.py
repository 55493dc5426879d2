"""What a role is: what a worker can be asked to be. The base of each `roles/NAME/order.py`.

A role is a folder. Its `order.py` has `Order`, which says what a worker is to do, what
it needs, what it counts and when it is done. `worker.py` has `begin(order, workplace)`,
its part of the poll loop (`work.py`), and `report.py` has `report_of(order, run)`, the
account of a run that is over. Only the command that makes an order knows a role by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

from ixyfwd.telemetry.counters import Word

Account = TypeVar("Account")
"""What the role's `report_of` returns."""


@dataclass(frozen=True)
class ProgramSpec:
    """A program with its settings as plain data, and whether it gives verdicts."""

    name: str
    options: Mapping[str, Any]
    decides: bool


@dataclass(frozen=True)
class LoopPart:
    """What a worker's plan says besides its order.

    `links` are (rx port, tx port) pairs by index, `programs` in their order; `fused`: the whole loop in C, with the
    program `frame_op` in it, one with a `frame.h`.
    """

    links: tuple[tuple[int, int], ...]
    programs: tuple[ProgramSpec, ...]
    fused: bool
    frame_op: str | None


@dataclass(frozen=True)
class Sums:
    """The sums of a run that is over, in frames: at its ports, dropped by cause, and in their rings."""

    received: int
    sent: int
    drops: Mapping[str, int]
    in_flight: int


class PortLimits(Protocol):
    """What a role may ask of a port's NIC family: see `nic.limits.Limits`."""

    @property
    def family(self) -> str:
        """The name of the NIC family."""

    @property
    def generator(self) -> bool:
        """Whether the family's rings have a generator."""


@dataclass(frozen=True)
class RoleOrder(Generic[Account]):
    """What a worker is asked to do: plain data that passes through JSON.

    Each role derives one frozen dataclass named `Order` from it.
    """

    role: ClassVar[str]
    """The folder's name."""

    command: ClassVar[str]
    """The command whose runs these are."""

    receives: ClassVar[bool] = True
    """Whether frames come from its ports. Where they do not, reception stays off, and all buffers are for what the
    worker sends."""

    traffic_words: ClassVar[bool] = True
    """Whether the worker counts in the words of `Scope.TRAFFIC` and its row in reports shows them."""

    restarts: ClassVar[bool] = False
    """Whether a new process can go on for a worker that died: all that it knows is in its order and the arena."""

    @property
    def threaded(self) -> bool:
        """Whether another thread runs beside the poll loop."""
        return False

    @property
    def inherited_fds(self) -> tuple[int, ...]:
        """Descriptors that must be open in the worker under the same numbers."""
        return ()

    @property
    def program_blocks(self) -> int:
        """How many programs count in the worker's page."""
        return 0

    def with_part(self, part: LoopPart) -> Self:
        """The order with what concerns it of the worker's plan."""
        return self

    def refusal(self, limits: PortLimits) -> str | None:
        """Why the role cannot be had on ports of a family, if so: a sentence that begins behind the port's name."""
        return None

    def done(self, word: Callable[[Word], int]) -> bool | None:
        """Whether the worker has come to its end, by the words of its page.

        None for a role that has no end: its run is over when the wires have fed all that they have.
        """
        return bool(word(Word.DONE))

    def uncounted(self, run: Sums, word: Callable[[Word], int], *, died: bool) -> int:
        """The number of frames by which the sum of a run misses.

        `word`: a word of the workers' pages, added up. `died`: a worker is dead, and what it had in hand with it.
        """
        return run.received - run.sent - sum(run.drops.values()) - run.in_flight

    def as_json(self) -> dict[str, Any]:
        """Plain data for `registry.order_from_json`."""
        return {"role": self.role, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The fields of `as_json` after JSON, which has lists where a frozen value has tuples."""
        return cls(**{key: frozen(value) for key, value in data.items()})


def frozen(value: Any) -> Any:
    """Tuples for lists, also within."""
    return tuple(frozen(one) for one in value) if isinstance(value, list) else value
