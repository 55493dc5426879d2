"""ixy.py, the published Python driver for this chip, measured by hand beside the `naive` engine.

    python -m ixyfwd.bench.published DIRECTORY [--batch 1,32,256] [--runs 10] [--json]

DIRECTORY is a clone of github.com/ixy-languages/ixy.py (tried with commit d8dab36),
which is not changed. Its rx_batch, touch and tx_batch do all the work that is timed, on
rings that its own functions prepare; as in `bench.turntable` the benchmark finishes the
descriptors in the same thread, so that caches are warm. Two things are not its own:
memory is ordinary memory and not hugepages of its Cython module, and while rings are
prepared, registers are a plain table, since there is no chip to be reset.
"""

import argparse
import importlib
import json
import logging
import mmap
import sys
import time
from collections.abc import Callable, Sequence
from itertools import repeat
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any, Final

import numpy as np

from ixyfwd.bench import cost
from ixyfwd.bench.options import numbers
from ixyfwd.bench.progress import progress
from ixyfwd.bench.result import Row, as_table, result
from ixyfwd.bench.turntable import WARM_UP_TURNS, HandTurnedPort, open_turntable
from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.memory.layout import RingLayout
from ixyfwd.nic.ixgbe.descriptors import DESCRIPTOR_BYTES, RS_INTERVAL

NAME: Final = "ixy.py"
RING: Final = 512  # what it has
MAX_BATCH: Final = RING // 2
BAR0_BYTES: Final = 1 << 17
TDT_0: Final = 0x6018  # 82599 datasheet 8.2.3.9.9
RUN_TURNS: Final = 12


class _Memory(np.ndarray[tuple[int], np.dtype[np.uint8]]):
    physical_address: int


def _memory(size: int, _aligned: bool = True) -> _Memory:
    """The stand-in for ixy.py's DmaMemory. No device reads the address."""
    piece = np.frombuffer(mmap.mmap(-1, size), np.uint8).view(_Memory)
    piece.physical_address = piece.ctypes.data
    return piece


class _Registers:
    """Registers that keep what is written to them; every wait is over at once."""

    def __init__(self) -> None:
        self._values: dict[int, int] = {}

    def get(self, offset: int) -> int:
        return self._values.get(offset, 0)

    def set(self, offset: int, value: int) -> None:
        self._values[offset] = value

    def set_flags(self, offset: int, flags: int) -> None:
        self._values[offset] = self.get(offset) | flags

    def wait_set(self, offset: int, mask: int) -> None:
        pass


class PublishedTable:
    """Two devices of ixy.py; the second sends what the first receives. `turn` is as in `bench.turntable.Turntable`."""

    def __init__(self, package: ModuleType, batch: int) -> None:
        self.frames = (RING - RS_INTERVAL) // batch * batch
        self._batch = batch
        self._source, self._target = _device(package), _device(package)
        self._arrivals = _port(self._source.rx_queues[0])
        self._departures = _port(self._target.tx_queues[0])

    def turn(self) -> int:
        """Forward `frames` frames; returns the time, in ns, of the driver. Raises IxyfwdError if some were not sent."""
        self._arrivals.deliver(self.frames)
        source, target, batch = self._source, self._target, self._batch
        start = time.perf_counter_ns()
        for _ in repeat(None, self.frames // batch):
            frames = source.rx_batch(0, batch)
            for frame in frames:
                frame.touch()
            target.tx_batch(frames, 0)
        ns = time.perf_counter_ns() - start
        self._departures.tdt[0] = int(target.reg.get(TDT_0))
        sent = self._departures.send_all()
        if sent != self.frames:
            raise IxyfwdError(f"{NAME} sent {sent} of the {self.frames} frames that it was given")
        return ns


def _device(package: ModuleType) -> Any:
    driver = importlib.import_module(f"{package.__name__}.ixgbe.device").IxgbeDevice
    device = driver.__new__(driver)  # its constructor resets a chip
    device.reg = _Registers()
    device.rx_queues = [device._init_rx_queue(0)]
    device.tx_queues = [device._init_tx_queue(0)]
    device._start_rx_queue(device.rx_queues[0])
    register = importlib.import_module(f"{package.__name__}.register").MmapRegister
    device.reg = register(mmap.mmap(-1, BAR0_BYTES))
    return device


def _port(queue: Any) -> HandTurnedPort:
    """A hand-turned device with one ring, for either direction."""
    ring = RingLayout(descriptors=0, ids=0, state=0, entries=len(queue.memory) // DESCRIPTOR_BYTES)
    return HandTurnedPort(queue.memory, ring, ring)


def load(directory: Path) -> ModuleType:
    """Import ixy.py from a clone. Raises UsageError if `directory` is not one."""
    source = directory / "src"
    if not (source / "ixypy" / "ixgbe" / "device.py").is_file():
        raise UsageError(f"{directory} is not a clone of ixy.py: src/ixypy/ixgbe/device.py is not in it")
    stand_in = ModuleType("memory")
    vars(stand_in)["DmaMemory"] = _memory
    sys.modules["memory"] = stand_in
    sys.path.insert(0, str(source))
    logging.disable(logging.INFO)  # it says what it prepares
    return importlib.import_module("ixypy")


def measure(package: ModuleType, batches: Sequence[int], runs: int, report: Callable[[str], None]) -> list[Row]:
    """Measure ixy.py and `naive`, a row each per batch size, whose turns alternate. Raises IxyfwdError."""
    rows: list[Row] = []
    for batch in batches:
        report(f"batch {batch}")
        with open_turntable("naive", batch, ring=RING, program="touch") as naive:
            published = PublishedTable(package, batch)
            tables = {NAME: published.turn, "naive": naive.turn}
            for turn in list(tables.values()) * WARM_UP_TURNS:
                turn()
            costs: dict[str, list[float]] = {name: [] for name in tables}
            for _ in range(runs):
                turns = [{name: turn() for name, turn in tables.items()} for _ in range(RUN_TURNS)]
                for name, found in costs.items():
                    found.append(median(turn[name] for turn in turns) / naive.frames)
        rows += [_row(name, batch, found) for name, found in costs.items()]
    return rows


def _row(engine: str, batch: int, costs: Sequence[float]) -> Row:
    return {**cost.row(cost.Case("naive", "python", "touch", batch, RING), costs), "engine": engine}


def main(arguments: Sequence[str]) -> int:
    """Run the command of this module; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m ixyfwd.bench.published", description="ixy.py beside naive")
    parser.add_argument("directory", type=Path, help="a clone of github.com/ixy-languages/ixy.py")
    parser.add_argument("--batch", default="1,32,256", help=f"batch sizes, comma-separated, 1 to {MAX_BATCH}")
    parser.add_argument("--runs", default="10", help="runs of each row")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args(arguments)
    try:
        batches = numbers(options.batch, 1, MAX_BATCH, "--batch")
        (runs,) = numbers(options.runs, 1, 10_000, "--runs")
        package = load(options.directory)
        with progress() as report:
            found = result("published", measure(package, batches, runs, report))
    except IxyfwdError as error:
        print(f"ixyfwd: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(found) if options.json else as_table(found, {"ns_per_packet": ("ns/packet", 0)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
