"""What capture files of either format have in common: bytes from a file or a FIFO, and records in them."""

import os
import select
import stat
import time
from dataclasses import dataclass, replace
from typing import Final

from ixyfwd.errors import UsageError

FIFO_S: Final = 8.0  # for all of a FIFO's content; less than a model has to become ready
_PIECE_BYTES: Final = 1 << 20


class DamageError(Exception):
    """What is wrong with the content of a capture file, without the file's name."""


@dataclass(frozen=True, slots=True)
class Record:
    """A frame in a capture file, offsets and lengths in bytes.

    `starts`: offset of its record; `at` and `length`: its bytes in the file; `original`: its length on the wire;
    `time_ns`: None if it was not recorded; `interface`: in words, "" in a file of one.
    """

    starts: int
    at: int
    length: int
    original: int
    time_ns: int | None
    link_type: int
    interface: str = ""

    def without_crc(self, crc_bytes: int) -> "Record":
        """The record without the `crc_bytes` of check sequence that the frame ends with."""
        if not crc_bytes or self.length < crc_bytes:
            return self
        return replace(self, length=self.length - crc_bytes, original=max(0, self.original - crc_bytes))


def read_bytes(path: str) -> bytes:
    """The content of a file, or what comes through a FIFO until its writer closes it. Raises UsageError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            kind = os.fstat(fd).st_mode
            if stat.S_ISFIFO(kind):
                return _read_fifo(fd, path)
            if not stat.S_ISREG(kind):
                raise UsageError(f"{path}: cannot read the capture file: it is neither a file nor a FIFO")
            with open(fd, "rb", closefd=False) as file:
                return file.read()
        finally:
            os.close(fd)
    except OSError as error:
        raise UsageError(f"{path}: cannot read the capture file: {error.strerror}") from None


def _read_fifo(fd: int, path: str) -> bytes:
    deadline = time.monotonic() + FIFO_S
    pieces: list[bytes] = []
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    while (left_s := deadline - time.monotonic()) > 0:
        if not poll.poll(1000 * left_s):
            break
        try:
            piece = os.read(fd, _PIECE_BYTES)
        except BlockingIOError:
            continue
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
    what = "the FIFO has not come to its end" if pieces else "nothing has come through the FIFO"
    raise UsageError(
        f"{path}: cannot read the capture file: {what} after {FIFO_S:g} s; expected a writer that writes a whole "
        "capture and closes it"
    )
