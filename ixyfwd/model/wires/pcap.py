"""The pcap wire: a capture file into the port, what the port sends into a capture file."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from ixyfwd.model.wires.capture_file import Capture, read_capture
from ixyfwd.model.wires.capture_writer import CaptureWriter
from ixyfwd.model.wires.contract import Full, Jack, Plug, Rate, Wire, WireTotals, check_memory, read_full, read_rate
from ixyfwd.settings.reader import Table, shown
from ixyfwd.traffic.format import CRC_BYTES

_FILE: Final = re.compile(r"[^\0]{1,4000}")
_OWN_DESCRIPTOR: Final = re.compile(r"/(?:dev|proc/self)/(?:(stdin|stdout|stderr)|fd/(\d+))")


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
        """Read the wire's table: keys `replay`, `capture`, `loop`, `rate` and `full`."""
        if not table.has("replay") and not table.has("capture"):
            table.notes.add(
                table.path, 'found neither "replay" nor "capture", expected a file for at least one of them'
            )
        replay, capture = (table.text(key, "", "a file name", _FILE) for key in ("replay", "capture"))
        rate = read_rate(table, "max", ("max", "line", "recorded"))
        return cls(
            replay=_for_other_processes(str(folder / replay)) if replay else None,
            capture=_for_other_processes(str(folder / capture)) if capture else None,
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
        """A file or FIFO to replay, a place to write."""
        if self.replay is not None and not (_can_be_read(self.replay) and os.access(self.replay, os.R_OK)):
            what = "a file that cannot be read" if os.path.exists(self.replay) else "no such file"
            yield "replay", f"found {what} at {self.replay}, expected a capture file to replay"
        if self.capture is not None and not os.path.isdir(os.path.dirname(self.capture) or "."):
            yield "capture", f"found no directory {os.path.dirname(self.capture)}, expected one to write the file into"

    @property
    def ends(self) -> bool | None:
        """Whether it ends: with the last frame, unless the replay begins again."""
        return None if self.replay is None else not self.loop

    def attach(self, jack: Jack) -> Plug:
        """Open the files of replay and capture.

        Raises UsageError (see `read_capture`; a capture file that cannot be made or is the replayed one) and
        RefusedError (a file that another user may have put there).
        """
        return PcapPlug(jack, self)


def _can_be_read(path: str) -> bool:
    try:
        kind = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISREG(kind) or stat.S_ISFIFO(kind)


def _for_other_processes(path: str) -> str:
    """`path`, as the process of the model finds it: /dev/stdin and the shell's <(...) are descriptors of this one."""
    own = _OWN_DESCRIPTOR.fullmatch(path)
    if own is None:
        return path
    number = own[2] or ("stdin", "stdout", "stderr").index(own[1])
    return f"/proc/{os.getpid()}/fd/{number}"


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

    def begin(self) -> None:
        """The capture file loses what it held."""
        if self._writer:
            self._writer.begin()

    def flush(self) -> None:
        """Write out what was captured."""
        if self._writer:
            self._writer.flush()

    def error(self) -> str | None:
        """Why the capture is not in its file."""
        return self._writer.error() if self._writer else None

    def notices(self) -> Iterator[str]:
        """Frames that the port refuses, a capture file that was moved."""
        if self._wire.replay is not None:
            yield from self._refused()
        if self._writer:
            yield from self._writer.notices()

    def _refused(self) -> Iterator[str]:
        replay = self._jack.lib.dp_port_replay(self._jack.port)
        if replay.too_long:
            length = int(replay.first_too_long_bytes)
            yield (
                f"the port refuses frames of {self._wire.replay} that are longer than it takes, the first of "
                f"{length + CRC_BYTES} bytes with CRC ([forward] max_frame)"
            )

    def totals(self) -> WireTotals:
        """Frames replayed, frames captured."""
        sent = self._jack.lib.dp_port_replay(self._jack.port).sent if self._wire.replay is not None else 0
        return WireTotals(int(sent), self._writer.captured if self._writer else 0)

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
