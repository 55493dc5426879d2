"""The file that `ixyfwd capture` writes: its header, and what becomes of it while it is written."""

import os
import select
import struct
from types import TracebackType
from typing import Final, Self

from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.kit.outfile import OutputFile
from ixyfwd.roles.capture.request import SNAPLEN_MAX

STANDARD_OUTPUT: Final = "-"
HEADER_S: Final = 5.0  # for the reader of a pipe to take what is in it
_PCAP_NS: Final = struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, SNAPLEN_MAX, 1)
_PCAPNG: Final = struct.pack("=IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28) + struct.pack(
    # Interface description: Ethernet, if_tsresol (option 9) of 10^-9 s.
    "=IIHHIHHB3xHHI",
    *(1, 32, 1, 0, SNAPLEN_MAX, 9, 1, 9, 0, 0, 32),
)


class CaptureFile:
    """A destination of frames. `fd` is None if they are counted only; `name` is for messages."""

    def __init__(self, path: str | None) -> None:
        """`path`: "-" is standard output; an old file keeps its content until `begin`. Raises UsageError, and
        RefusedError for a file that another user may have put there."""
        self.name = path or "the output"
        self.fd: int | None = None
        self.pcapng = path is not None and path.endswith(".pcapng")
        self._file: OutputFile | None = None
        try:
            if path == STANDARD_OUTPUT:
                self.fd = os.dup(1)
            elif path is not None:
                self._file = OutputFile(path)
                self.fd = self._file.fd
                os.set_blocking(self.fd, True)  # a thread writes
        except OSError as error:
            raise UsageError(f"-w: cannot write {path} ({error.strerror})") from None

    @classmethod
    def of_pipe(cls, fd: int, name: str) -> Self:
        """A pipe that is open already; this file's from now on."""
        made = cls(None)
        made.fd, made.name = fd, name
        return made

    def begin(self) -> None:
        """Empty the file and write what stands before the first record.

        Raises UsageError, or IxyfwdError if the reader of a pipe takes nothing.
        """
        if self.fd is None:
            return
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        if not poll.poll(1000 * HEADER_S):
            raise IxyfwdError(f"-w: the reader of {self.name} has taken nothing for {HEADER_S:g} s")
        try:
            if self._file is not None:
                self._file.begin()
            os.write(self.fd, _PCAPNG if self.pcapng else _PCAP_NS)
        except OSError as error:
            raise UsageError(f"-w: cannot write {self.name} ({error.strerror})") from None

    @property
    def complaint(self) -> str | None:
        """A sentence if the file was removed, moved or replaced while it was written, else None."""
        return self._file.complaint() if self._file is not None else None

    @property
    def removed(self) -> bool:
        """Whether what was captured is in no file any more."""
        return self._file is not None and self._file.removed

    def close(self) -> None:
        """Close the file; a second call has no effect."""
        fd, self.fd = self.fd, None
        if self._file is not None:
            self._file.close()
        elif fd is not None:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
