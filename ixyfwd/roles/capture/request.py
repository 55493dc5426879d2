"""What can be asked of a worker that captures, and the order that it comes to."""

import os
from typing import Final

from ixyfwd.errors import UsageError
from ixyfwd.roles.capture.bpf import compile_filter
from ixyfwd.roles.capture.order import Order

SNAPLEN_MAX: Final = 262144


def capture_order(
    fd: int | None,
    *,
    pcapng: bool = False,
    name: str = "the output",
    expression: str | None = None,
    snaplen: int = SNAPLEN_MAX,
    count: int | None = None,
) -> Order:
    """The worker's order; `name` is the file's, for messages. Raises UsageError."""
    if not 1 <= snaplen <= SNAPLEN_MAX:
        raise UsageError(f"--snaplen: found {snaplen}, expected 1 to {SNAPLEN_MAX} bytes")
    program = compile_filter(expression) if expression else ()
    return Order(fd, pcapng, snaplen, count, program, tuple(sorted(os.sched_getaffinity(0))), name)
