"""What a worker that generates or captures is asked to do. Plain data that passes through JSON."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ixyfwd.engine.traffic import ENDLESS, Frames
from ixyfwd.worker.bpf import Instruction


@dataclass(frozen=True)
class GenerateOrder:
    """See `engine.traffic.Frames`; `templates` as hexadecimal digits, `count` None = until stopped."""

    templates: str
    flows: int
    sizes: tuple[int, ...]
    frame_ps: tuple[int, ...]
    schedule: tuple[int, ...]
    count: int | None
    kind: Literal["generate"] = "generate"

    @property
    def threaded(self) -> bool:
        """Whether another thread runs beside the poll loop."""
        return False

    def frames(self) -> Frames:
        """For an engine."""
        count = ENDLESS if self.count is None else self.count
        return Frames(bytes.fromhex(self.templates), self.flows, self.sizes, self.frame_ps, bytes(self.schedule), count)


@dataclass(frozen=True)
class CaptureOrder:
    """`fd`: where records go, behind a header that is there already; None: frames are counted only. `file_cpus`: where
    the thread that writes them runs; empty: on the worker's CPU."""

    fd: int | None
    pcapng: bool = False
    snaplen: int = 262144
    count: int | None = None
    program: tuple[Instruction, ...] = ()  # empty: every frame
    file_cpus: tuple[int, ...] = ()
    kind: Literal["capture"] = "capture"

    @property
    def threaded(self) -> bool:
        """Whether another thread runs beside the poll loop: the one that writes the file."""
        return self.fd is not None


Order = GenerateOrder | CaptureOrder


def order_from_json(data: Mapping[str, Any] | None) -> Order | None:
    """The inverse of `dataclasses.asdict` after JSON."""
    if data is None:
        return None
    if data["kind"] == "generate":
        return GenerateOrder(**{**data, **{key: tuple(data[key]) for key in ("sizes", "frame_ps", "schedule")}})
    return CaptureOrder(
        **{
            **data,
            "program": tuple(tuple(instruction) for instruction in data["program"]),
            "file_cpus": tuple(data["file_cpus"]),
        }
    )
