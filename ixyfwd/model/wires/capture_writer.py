"""What a port sends, out of the data path's buffer into a capture file."""

import contextlib
import os
import select
import struct
from collections.abc import Iterator
from typing import Any, Final

from ixyfwd.errors import UsageError
from ixyfwd.kit.outfile import OutputFile
from ixyfwd.model.wires.capture_file import LINKTYPE_ETHERNET
from ixyfwd.model.wires.contract import Jack, check_memory

CAPTURE_BUFFER_BYTES: Final = 4 * 1024 * 1024
SNAP_BYTES: Final = 65535
FILE_HEADER: Final = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, SNAP_BYTES, LINKTYPE_ETHERNET)  # nanoseconds
SETTLE_S: Final = 0.3  # for the reader of a FIFO to take the rest; less than a model has for its end


class CaptureWriter:
    """The writer that empties the data path's buffer into a file.

    A failure is remembered, not raised: forwarding goes on. A FIFO whose reader is slow is not waited for; frames for
    which the buffer has no room meanwhile are lost and counted.
    """

    def __init__(self, jack: Jack, path: str, replay: str | None) -> None:
        """An old file keeps its content until `begin`. Raises UsageError and RefusedError."""
        self._ffi = jack.ffi
        self._path = path
        self._error: str | None = None
        self._begun = False
        self._written_frames = self._written_bytes = 0
        if replay is not None and os.path.exists(path) and os.path.samefile(path, replay):
            raise UsageError(f"{path}: the capture file is the file that is replayed; choose another name")
        try:
            self._file = OutputFile(path)
        except OSError as error:
            raise UsageError(f"{path}: cannot make the capture file: {error.strerror}") from None
        check_memory(jack.lib.dp_plug_capture(jack.port, CAPTURE_BUFFER_BYTES), "a capture buffer")
        self._capture = jack.lib.dp_port_capture(jack.port)
        if self._file.created or not self._file.is_file:  # nothing that a run which does not come up would destroy
            self.begin()
            if self._error is not None:
                self._file.close()
                raise UsageError(self._error)

    @property
    def captured(self) -> int:
        """Frames so far."""
        return int(self._capture.captured)

    def begin(self) -> None:
        """Frames come from now on: what an old file held is gone, its mode stays."""
        if self._begun:
            return
        self._begun = True
        try:
            self._file.begin()
            self._write(memoryview(FILE_HEADER), wait_s=SETTLE_S)
            self._written_bytes = len(FILE_HEADER)
        except OSError as error:
            self._fail(error)

    def flush(self, wait_s: float = 0.0) -> None:
        """Write the buffer's content, once; after a failure what comes is counted as lost."""
        capture = self._capture
        if not capture.used or self._file.fd < 0:
            return
        self.begin()
        if self._error is not None:
            capture.used = 0
            return
        try:
            left = self._write(memoryview(self._ffi.buffer(capture.buffer, capture.used)), wait_s)
        except OSError as error:
            self._fail(error)
            capture.used = 0
            return
        self._written_bytes += int(capture.used) - left
        if left:
            self._ffi.memmove(capture.buffer, capture.buffer + (capture.used - left), left)
        else:
            self._written_frames = int(capture.captured)
        capture.used = left

    def _write(self, data: memoryview, wait_s: float) -> int:
        """Returns how many bytes the reader of a FIFO or device has not taken. Raises OSError."""
        while data:
            try:
                data = data[os.write(self._file.fd, data) :]
            except BlockingIOError:
                poll = select.poll()
                poll.register(self._file.fd, select.POLLOUT)
                if not wait_s or not poll.poll(1000 * wait_s):
                    break
        return len(data)

    def _fail(self, error: OSError) -> None:
        """The file ends with its last whole burst."""
        capture = self._capture
        self._error = f"{self._path}: cannot write the capture file: {error.strerror or error}"
        capture.failed = 1
        capture.lost += capture.captured - self._written_frames
        capture.captured = self._written_frames
        with contextlib.suppress(OSError):  # a pipe or device cannot be cut
            os.ftruncate(self._file.fd, self._written_bytes)

    def error(self) -> str | None:
        """Why frames are not in the file; None: they are."""
        if self._error is None and self._file.removed:
            return self._file.complaint()
        return self._error

    def notices(self) -> Iterator[str]:
        """A notice if the file was moved."""
        complaint = self._file.complaint()
        if complaint is not None and not self._file.removed:
            yield complaint

    def stats(self) -> dict[str, Any]:
        """`captured` frames (bytes without CRC), `lost` after a failure, `error` in one sentence or None."""
        counts = {key: int(getattr(self._capture, key)) for key in ("captured", "captured_bytes", "lost")}
        return {"file": self._path, **counts, "error": self.error()}

    def close(self) -> None:
        """The file is complete. What the reader of a FIFO has not taken is lost."""
        self.flush(SETTLE_S)
        self._file.close()
