"""Recording with the `native` engine."""

from functools import partial
from typing import Any

from ixyfwd.engine._native import ffi, lib
from ixyfwd.engine.traffic import BLOCK_BYTES, BLOCK_COUNT, Recording

CData = Any


class NativeRecorder:
    """A recorder whose records are made in C. See `engine.traffic.Recorder`."""

    def __init__(self, recording: Recording, keeps: object) -> None:
        """Allocate the blocks. The engine attaches `work` to its memory and a batch, which `keeps` keeps alive."""
        self.work = work = ffi.new("struct capture *")
        self._blocks = ffi.new("uint8_t[]", BLOCK_BYTES * BLOCK_COUNT if recording.recording else 1)
        self._used = ffi.new("uint32_t[]", BLOCK_COUNT)
        self._frames = ffi.new("uint32_t[]", BLOCK_COUNT)
        work.blocks, work.used, work.frames = self._blocks, self._used, self._frames
        work.block_bytes, work.block_count = BLOCK_BYTES, BLOCK_COUNT
        work.filter = ffi.cast(
            "unsigned int (*)(const void *, const uint8_t *, unsigned int, unsigned int)", recording.filter_address
        )
        work.program = ffi.cast("void *", recording.program_address)
        work.left = recording.count
        work.snaplen = recording.snaplen
        work.pcapng = recording.pcapng
        work.recording = recording.recording
        # Through cffi, which releases the interpreter lock: the thread that writes blocks runs meanwhile.
        self.burst = partial(lib.capture_burst, work)
        self._keeps = keeps

    def flush(self) -> bool:
        """See `engine.traffic.Recorder`."""
        return bool(lib.capture_flush(self.work))

    def next_block(self) -> tuple[memoryview, int] | None:
        """See `engine.traffic.Recorder`."""
        work = self.work
        if work.written == work.filled:
            return None
        block = work.written % BLOCK_COUNT
        data = memoryview(ffi.buffer(self._blocks + block * BLOCK_BYTES, self._used[block]))
        return data, self._frames[block]

    def release_block(self) -> None:
        """See `engine.traffic.Recorder`."""
        self.work.written += 1

    def empty(self) -> bool:
        """See `engine.traffic.Recorder`."""
        return bool(self.work.at == 0 and self.work.written == self.work.filled)
