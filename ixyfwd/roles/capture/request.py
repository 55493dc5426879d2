"""What can be asked of a worker that captures, and the order that it comes to."""

import os
import select
import struct
from typing import Final

from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.roles.capture.bpf import compile_filter
from ixyfwd.roles.capture.order import Order

SNAPLEN_MAX: Final = 262144
HEADER_S: Final = 5.0  # for the reader of a pipe to take what is in it
_PCAP_NS: Final = struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, SNAPLEN_MAX, 1)
_PCAPNG: Final = struct.pack("=IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28) + struct.pack(
    # Interface description: Ethernet, if_tsresol (option 9) of 10^-9 s.
    "=IIHHIHHB3xHHI",
    *(1, 32, 1, 0, SNAPLEN_MAX, 9, 1, 9, 0, 0, 32),
)


def open_capture(path: str | None) -> tuple[int | None, bool]:
    """A new capture file (0600; "-" is standard output) with its header; whether it is pcapng. Raises UsageError."""
    if path is None:
        return None, False
    pcapng = path.endswith(".pcapng")
    try:
        fd = os.dup(1) if path == "-" else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UsageError(f"-w: cannot write {path} ({error.strerror})") from None
    write_header(fd, pcapng, path)
    return fd, pcapng


def write_header(fd: int, pcapng: bool, name: str) -> None:
    """What stands before the first record. Raises UsageError, or IxyfwdError if the reader of a pipe has no room."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    if not poll.poll(1000 * HEADER_S):
        raise IxyfwdError(f"-w: the reader of {name} has taken nothing for {HEADER_S:g} s")
    try:
        os.write(fd, _PCAPNG if pcapng else _PCAP_NS)
    except OSError as error:
        raise UsageError(f"-w: cannot write {name} ({error.strerror})") from None


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
