"""The pcap wire: a capture file into the port, what the port sends into a capture file."""

import contextlib
import os
import struct
from typing import Any

from ixyfwd.errors import UsageError
from ixyfwd.model._datapath import ffi, lib
from ixyfwd.model.spec import PcapWire
from ixyfwd.model.wires.base import Plug, Pointer, check_memory, make_pace
from ixyfwd.model.wires.capture_file import LINKTYPE_ETHERNET, Capture, read_capture

CAPTURE_BUFFER_BYTES = 4 * 1024 * 1024
SNAP_BYTES = 65535
FILE_HEADER = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, SNAP_BYTES, LINKTYPE_ETHERNET)  # nanosecond pcap


class PcapPlug(Plug):
    """Replay, capture, both or none."""

    kind = "pcap"

    def __init__(self, port: Pointer, wire: PcapWire) -> None:
        """Raises UsageError (what `read_capture` raises; a capture file that cannot be made or is the replayed one)."""
        super().__init__(port)
        self._wire = wire
        self._writer: CaptureWriter | None = None
        self._kept: tuple[object, ...] = ()
        if wire.replay is not None:
            self._plug_replay(wire, read_capture(wire.replay))
        if wire.capture is not None:
            self._writer = CaptureWriter(port, wire.capture, wire.replay)
        if wire.replay is None and wire.capture is None:
            lib.dp_plug_none(port)

    def _plug_replay(self, wire: PcapWire, capture: Capture) -> None:
        records = ffi.new("dp_record[]", len(capture.offsets))
        for index, fields in enumerate(zip(capture.times_ns, capture.offsets, capture.lengths, strict=True)):
            records[index] = fields
        blob = ffi.from_buffer("uint8_t[]", capture.data)
        self._kept = records, blob, capture.data
        pace = make_pace(wire.rate)
        check_memory(lib.dp_plug_replay(self._port, records, len(records), blob, wire.loop, pace), "a capture file")

    def flush(self) -> None:
        """Write out what was captured."""
        if self._writer:
            self._writer.flush()

    def stats(self) -> dict[str, Any]:
        """`replay` and `capture`, each None if not asked for."""
        return {"replay": self._replay_stats(), "capture": self._writer.stats() if self._writer else None}

    def _replay_stats(self) -> dict[str, Any] | None:
        if self._wire.replay is None:
            return None
        replay = lib.dp_port_replay(self._port)
        counts = {key: int(getattr(replay, key)) for key in ("sent", "sent_bytes", "too_long", "rounds")}
        return {"file": self._wire.replay, "rate": self._wire.rate, **counts}

    def close(self) -> None:
        """The capture file is complete."""
        if self._writer:
            self._writer.close()


class CaptureWriter:
    """Empties the data path's buffer into a file. A failure is remembered, not raised: forwarding goes on."""

    def __init__(self, port: Pointer, path: str, replay: str | None) -> None:
        self._path = path
        self._error: str | None = None
        self._written_frames = 0
        self._written_bytes = len(FILE_HEADER)
        if replay is not None and os.path.exists(path) and os.path.samefile(path, replay):
            raise UsageError(f"{path}: the capture file is the file that is replayed; choose another name")
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            os.fchmod(self._fd, 0o600)
            os.write(self._fd, FILE_HEADER)
        except OSError as error:
            raise UsageError(f"{path}: cannot make the capture file: {error.strerror}") from None
        check_memory(lib.dp_plug_capture(port, CAPTURE_BUFFER_BYTES), "a capture buffer")
        self._capture = lib.dp_port_capture(port)

    def flush(self) -> None:
        """Write the buffer's content, once; after a failure what comes is counted as lost."""
        capture = self._capture
        if not capture.used or self._fd < 0:
            return
        try:
            self._write(ffi.buffer(capture.buffer, capture.used))
            self._written_frames = int(capture.captured)
            self._written_bytes += int(capture.used)
        except OSError as error:
            self._fail(error.strerror or str(error))
        capture.used = 0

    def _write(self, data: Any) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def _fail(self, reason: str) -> None:
        """The file ends with its last whole burst."""
        self._error = f"{self._path}: cannot write the capture file: {reason}"
        self._capture.failed = 1
        self._capture.lost += self._capture.captured - self._written_frames
        self._capture.captured = self._written_frames
        with contextlib.suppress(OSError):  # a pipe or device cannot be cut
            os.ftruncate(self._fd, self._written_bytes)

    def stats(self) -> dict[str, Any]:
        """`captured` frames (bytes without CRC), `lost` after a failure, `error` in one sentence or None."""
        counts = {key: int(getattr(self._capture, key)) for key in ("captured", "captured_bytes", "lost")}
        return {"file": self._path, **counts, "error": self._error}

    def close(self) -> None:
        self.flush()
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
