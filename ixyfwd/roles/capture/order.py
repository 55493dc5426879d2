"""What a worker that captures is asked to do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ixyfwd.roles.capture.bpf import Instruction
from ixyfwd.roles.contract import RoleOrder, Sums
from ixyfwd.telemetry.counters import Word

if TYPE_CHECKING:
    from ixyfwd.telemetry.snapshot import CaptureReport  # noqa: F401 - in quotes: a worker has no use for it


@dataclass(frozen=True)
class Order(RoleOrder["CaptureReport"]):
    """The order of a worker that captures.

    `fd`: where records go, behind a header that is there already; None: frames are counted only. `file_cpus`: where
    the thread that writes them runs; empty: on the worker's CPU. `name`: what messages call the file.
    """

    role: ClassVar = "capture"
    command: ClassVar = "capture"

    fd: int | None
    pcapng: bool = False
    snaplen: int = 262144
    count: int | None = None
    program: tuple[Instruction, ...] = ()  # empty: every frame
    file_cpus: tuple[int, ...] = ()
    name: str = "the output"

    @property
    def threaded(self) -> bool:
        """With a file: a thread writes it."""
        return self.fd is not None

    @property
    def inherited_fds(self) -> tuple[int, ...]:
        """The file."""
        return () if self.fd is None else (self.fd,)

    def done(self, word: Callable[[Word], int]) -> bool | None:
        """Also when the file cannot be written any more."""
        return bool(word(Word.DONE) or word(Word.ERRNO))

    def uncounted(self, run: Sums, word: Callable[[Word], int], *, died: bool) -> int:
        """The number of frames by which received = recorded, filtered and dropped + in flight misses.

        What a dead worker had in its blocks is in the report, as the cause worker_died.
        """
        if died:
            return 0
        words = (Word.WRITTEN, Word.FILTERED, Word.FILE_BUSY, Word.FILE_FAILED, Word.SURPLUS)
        return run.received - sum(run.drops.values()) - sum(map(word, words)) - run.in_flight
