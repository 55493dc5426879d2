"""What the model costs: its data path turned by hand by a null driver in the same thread.

Run it by `python -m ixyfwd.model.turn`.

Two ports, a generator and a sink each; the null driver sends at one port what it received at the other. The figure is
for generator, both rings and sink together, and is an upper bound of what one core can feed a driver with.
"""

import argparse
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.kit.syscalls import CLOEXEC, HUGETLB, memfd_create
from ixyfwd.model.datapath._datapath import ffi, lib
from ixyfwd.model.datapath.binding import Datapath, DatapathPort
from ixyfwd.model.wires.generator import GeneratorWire

IOVA = 1 << 32
HUGE_BYTES = 2 * 1024 * 1024
RING_BYTES_PER_SLOT, BUFFER_BYTES = 16, 33 * 64
SYMMETRIC_KEY_WORD = 0x5A6D5A6D
REGISTERS = {
    0x02F00: 0x0010880A,  # RDRXCTL: CRCSTRIP
    0x03000: 1,  # RXCTRL.RXEN
    0x04240: 0x08012C0B,  # HLREG0
    0x04A80: 0x81000001,  # DMATXCTL.TE
    0x05000: 1 << 13,  # RXCSUM.PCSD
    0x05080: 0x700,  # FCTRL: BAM, UPE, MPE
    0x05088: 0x8100,  # VLNCTRL.VET
    0x0EC80: 1 | 0xF30000,  # MRQC: RSS by addresses and ports
}


@dataclass(frozen=True)
class Turn:
    """The result of a turn: `frames` forwarded, ns per frame altogether and in the model alone."""

    frames: int
    total_ns_per_frame: float
    model_ns_per_frame: float


def configure(port: DatapathPort, queues: int) -> None:
    """Registers as a driver leaves them: promiscuous, RSS with the symmetric key over `queues` queues."""
    for offset, value in REGISTERS.items():
        port.store[offset // 4] = value
    for index in range(10):
        port.store[0x0EB80 // 4 + index] = SYMMETRIC_KEY_WORD
    for index in range(32):
        entries = (4 * index + k for k in range(4))
        port.store[0x0EB00 // 4 + index] = sum((entry % queues) << 8 * k for k, entry in enumerate(entries))
    port.reconfigure()
    port.set_bus_master(True)


def shared_memory(size: int) -> tuple[int, mmap.mmap]:
    """A memfd of `size` bytes in hugepages, or in ordinary pages if there are too few; and its mapping.

    Raises IxyfwdError if there is not enough memory.
    """
    for flags in (HUGETLB, 0):
        fd = memfd_create("ixyfwd-turn", CLOEXEC | flags)
        try:
            os.ftruncate(fd, size)
            return fd, mmap.mmap(fd, size)
        except OSError:
            os.close(fd)
    raise IxyfwdError(f"there is not enough memory for {size} bytes of rings and buffers")


@contextmanager
def _turning(wire: GeneratorWire, queues: int, ring: int) -> Iterator[tuple[Datapath, Any]]:
    """A model of two ports with such wires, and its null driver."""
    size = 4 * queues * ring * (RING_BYTES_PER_SLOT + BUFFER_BYTES) + 4096
    fd, memory = shared_memory(-(-size // HUGE_BYTES) * HUGE_BYTES)
    size = len(memory)
    datapath = Datapath(["a", "b"])
    for port in datapath.ports:
        port.map_dma(IOVA, size, fd, 0, True, True)
        configure(port, queues)
        port.plug(wire)
        port.start_feed()
    os.close(fd)
    turner = lib.dp_turner_new(datapath.handle, ffi.from_buffer(memory), IOVA, ring, queues)
    datapath.run(-1, 0, False)  # takes the configuration over
    try:
        yield datapath, turner
    finally:
        lib.dp_turner_free(turner)
        datapath.close()


def turn(wire: GeneratorWire, *, queues: int = 1, ring: int = 512, batch: int = 64, frames: int = 20_000_000) -> Turn:
    """Forward `frames` frames in all. Raises IxyfwdError if the sinks or the model have anything to complain about."""
    with _turning(wire, queues, ring) as (datapath, turner):
        lib.dp_turner_run(turner, frames // 10, batch)  # caches, predictors, pages
        before, before_ns = lib.dp_turner_frames(turner), lib.dp_turner_model_ns(turner)
        total_ns = lib.dp_turner_run(turner, frames, batch)
        done = lib.dp_turner_frames(turner) - before
        model_ns = lib.dp_turner_model_ns(turner) - before_ns
        _check(datapath)
    return Turn(done, total_ns / done, model_ns / done)


def idle_latency(wire: GeneratorWire, *, duration_s: float, ring: int, batch: int) -> list[dict[str, Any]]:
    """The wires' accounts, one per port, after `duration_s` of frames at the wires' own pace in frames per second.

    Only the null driver is between generator and sink: the latencies are the model's own share. Frames may be
    lost where the CPU is taken away for longer than a ring lasts. Raises IxyfwdError if the sinks or the model have
    another complaint, UsageError for a pace that is not a number.
    """
    if isinstance(wire.rate, str):
        raise UsageError(f"a rate of {wire.rate!r}: expected frames per second")
    with _turning(wire, 1, ring) as (datapath, turner):
        frames = max(1, int(2 * wire.rate * duration_s))
        lib.dp_turner_run(turner, frames // 10, batch)
        for port in datapath.ports:
            port.restart_latency()
        lib.dp_turner_run(turner, frames, batch)
        _check(datapath, may_lose=True)
        return [port.wire_stats() for port in datapath.ports]


def _check(datapath: Datapath, *, may_lose: bool = False) -> None:
    damage = ("reordered", "duplicated", "corrupted", "foreign", *(() if may_lose else ("lost",)))
    for port in datapath.ports:
        sink, faults = port.wire_stats()["sink"], port.faults()
        wrong = {key: sink[key] for key in damage if sink[key]}
        if wrong or faults.total or not sink["received"]:
            raise IxyfwdError(f"port {port.name}: the turn went wrong: {wrong}, faults {dict(faults.by_kind)}")


def main() -> None:
    """Print one line per run."""
    parser = argparse.ArgumentParser(prog="python -m ixyfwd.model.turn", description=__doc__)
    for name, default in (("flows", 64), ("queues", 1), ("ring", 512), ("batch", 64), ("size", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--frames", type=int, default=20_000_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    wire = GeneratorWire(flows=options.flows, frames=((options.size, 1),), rate="max")
    for _ in range(options.runs):
        done = turn(wire, queues=options.queues, ring=options.ring, batch=options.batch, frames=options.frames)
        print(
            f"{done.frames} frames of {options.size} bytes: {done.total_ns_per_frame:.2f} ns/frame with the null "
            f"driver, {done.model_ns_per_frame:.2f} in the model; {1000 / done.total_ns_per_frame:.1f} M frames/s",
            flush=True,
        )


if __name__ == "__main__":
    main()
