"""The pcap wire: a capture file into the port, what the port sends into a capture file."""

import contextlib
import os
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from ixyfwd.errors import UsageError
from ixyfwd.model.wires.capture_file import LINKTYPE_ETHERNET, Capture, read_capture
from ixyfwd.model.wires.contract import Full, Jack, Plug, Rate, Totals, Wire, check_memory, read_full, read_rate
from ixyfwd.settings.reader import Table, shown

CAPTURE_BUFFER_BYTES = 4 * 1024 * 1024
SNAP_BYTES = 65535
FILE_HEADER = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, SNAP_BYTES, LINKTYPE_ETHERNET)  # nanosecond pcap
_FILE: Final = re.compile(r"[^\0]{1,4000}")


@dataclass(frozen=True)
class PcapWire(Wire):
    """Frames from a capture file into the port, frames that the port sends into a capture file; either may be None."""

    kind: ClassVar = "pcap"
    how_to_end: ClassVar = "give its capture file loop = false"

    replay: str | None = None
    capture: str | None = None
    loop: bool = False
    rate: Rate = "max"
    full: Full = "drop"  # with rate "max" it waits all the same

    @classmethod
    def read(cls, table: Table, folder: Path) -> Self:
        """Keys `replay`, `capture`, `loop`, `rate` and `full`."""
        if not table.has("replay") and not table.has("capture"):
            table.notes.add(
                table.path, 'found neither "replay" nor "capture", expected a file for at least one of them'
            )
        replay, capture = (table.text(key, "", "a file name", _FILE) for key in ("replay", "capture"))
        rate = read_rate(table, "max", ("max", "line", "recorded"))
        return cls(
            replay=str(folder / replay) if replay else None,
            capture=str(folder / capture) if capture else None,
            loop=table.flag("loop", False),
            rate=rate,
            full=read_full(table, rate),
        )

    def own(self) -> Iterator[tuple[str, str, str]]:
        """The file that is written."""
        if self.capture:
            yield "capture", "a file", self.capture

    def problems(self, port: str, wires: Mapping[str, Wire | None]) -> Iterator[tuple[str, str]]:
        """No port may write what this or another one replays."""
        replayed = {wire.replay for wire in wires.values() if isinstance(wire, PcapWire)}
        if self.capture and self.capture in replayed:
            name = os.path.basename(self.capture) if self.capture.startswith("/") else self.capture
            yield "capture", f"found {shown(name)}, which is replayed too, expected another file to write"

    def machine_problems(self) -> Iterator[tuple[str, str]]:
        """A file to replay, a place to write."""
        if self.replay is not None and not (os.path.isfile(self.replay) and os.access(self.replay, os.R_OK)):
            what = "a file that cannot be read" if os.path.exists(self.replay) else "no such file"
            yield "replay", f"found {what} at {self.replay}, expected a capture file to replay"
        if self.capture is not None and not os.path.isdir(os.path.dirname(self.capture) or "."):
            yield "capture", f"found no directory {os.path.dirname(self.capture)}, expected one to write the file into"

    @property
    def ends(self) -> bool | None:
        """With the last frame, unless it begins again."""
        return None if self.replay is None else not self.loop

    def attach(self, jack: Jack) -> Plug:
        """Raises UsageError (what `read_capture` raises; a capture file that cannot be made or is the replayed one)."""
        return PcapPlug(jack, self)


class PcapPlug(Plug):
    """Replay, capture, both or none."""

    def __init__(self, jack: Jack, wire: PcapWire) -> None:
        super().__init__(jack)
        self._wire = wire
        self._writer: CaptureWriter | None = None
        self._kept: tuple[object, ...] = ()
        if wire.replay is not None:
            self._plug_replay(wire, read_capture(wire.replay))
        if wire.capture is not None:
            self._writer = CaptureWriter(jack, wire.capture, wire.replay)
        if wire.replay is None and wire.capture is None:
            jack.lib.dp_plug_none(jack.port)

    def _plug_replay(self, wire: PcapWire, capture: Capture) -> None:
        jack = self._jack
        records = jack.ffi.new("dp_record[]", len(capture.offsets))
        for index, fields in enumerate(zip(capture.times_ns, capture.offsets, capture.lengths, strict=True)):
            records[index] = fields
        blob = jack.ffi.from_buffer("uint8_t[]", capture.data)
        self._kept = records, blob, capture.data
        pace = jack.make_pace(wire.rate, wire.full)
        result = jack.lib.dp_plug_replay(jack.port, records, len(records), blob, wire.loop, pace)
        check_memory(result, "a capture file")

    def flush(self) -> None:
        """Write out what was captured."""
        if self._writer:
            self._writer.flush()

    def totals(self) -> Totals:
        """Frames replayed, frames captured."""
        sent = self._jack.lib.dp_port_replay(self._jack.port).sent if self._wire.replay is not None else 0
        return Totals(int(sent), self._writer.captured if self._writer else 0)

    def stats(self) -> dict[str, Any]:
        """`replay` and `capture`, each None if not asked for."""
        return {"replay": self._replay_stats(), "capture": self._writer.stats() if self._writer else None}

    def _replay_stats(self) -> dict[str, Any] | None:
        if self._wire.replay is None:
            return None
        replay = self._jack.lib.dp_port_replay(self._jack.port)
        counts = {key: int(getattr(replay, key)) for key in ("sent", "sent_bytes", "too_long", "rounds")}
        return {"file": self._wire.replay, "rate": self._wire.rate, **counts}

    def close(self) -> None:
        """The capture file is complete."""
        if self._writer:
            self._writer.close()


class CaptureWriter:
    """Empties the data path's buffer into a file. A failure is remembered, not raised: forwarding goes on."""

    def __init__(self, jack: Jack, path: str, replay: str | None) -> None:
        self._ffi = jack.ffi
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
        check_memory(jack.lib.dp_plug_capture(jack.port, CAPTURE_BUFFER_BYTES), "a capture buffer")
        self._capture = jack.lib.dp_port_capture(jack.port)

    @property
    def captured(self) -> int:
        """Frames so far."""
        return int(self._capture.captured)

    def flush(self) -> None:
        """Write the buffer's content, once; after a failure what comes is counted as lost."""
        capture = self._capture
        if not capture.used or self._fd < 0:
            return
        try:
            self._write(self._ffi.buffer(capture.buffer, capture.used))
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
