"""A user-space driver of the sysfs kind, as a program: `python -m tests.testing.polled_driver HUGEDIR DEVICE DEVICE`.

Written from the order in which ixy (C, commit 0e00605) writes registers. It knows DEVICE/config, DEVICE/resource0, a
hugetlbfs mount and /proc/self/pagemap, and nothing of what is behind them. It forwards both ways until its standard
input ends, then drains and prints one line of JSON: for each port `rx`, `tx` and `full` (frames), and the statistics
registers it read.
"""

import ctypes
import json
import mmap
import os
import select
import struct
import sys
import time
from collections import deque
from pathlib import Path

HUGE_BYTES, PAGE_BYTES = 2 * 1024 * 1024, 4096
BUFFER_BYTES = 2048
ENTRIES = 128
BURST, CLEAN = 32, 32
TIMEOUT_S = 20.0
ALL = 0xFFFFFFFF

CTRL, EIMC, EEC, RDRXCTL, AUTOC, LINKS = 0x00000, 0x00888, 0x10010, 0x02F00, 0x042A0, 0x042A4
RXCTRL, HLREG0, FCTRL, CTRL_EXT, RTTDCS, DTXMXSZRQ, DMATXCTL = 0x3000, 0x4240, 0x5080, 0x18, 0x4900, 0x8100, 0x4A80
RXPBSIZE, TXPBSIZE = 0x03C00, 0x0CC00
RDBAL, RDLEN, DCA_RXCTRL, RDH, RDT, RXDCTL = 0x1000, 0x1008, 0x2200, 0x1010, 0x1018, 0x1028
SRRCTL = 0x2100  # ixy's macro for queues below 16
TDBAL, TDLEN, TDH, TDT, TXDCTL = 0x6000, 0x6008, 0x6010, 0x6018, 0x6028
COUNTERS = {"GPRC": 0x4074, "GPTC": 0x4080, "GORCL": 0x4088, "GORCH": 0x408C, "GOTCL": 0x4090, "GOTCH": 0x4094}
DROPPED = 0x1430  # QPRDC(0)
ENABLE = 1 << 25
DD = 1
TX = 1 << 29 | 1 << 27 | 1 << 25 | 1 << 24 | 3 << 20  # DEXT, RS, IFCS, EOP, data


class Memory:
    """One hugepage from a file that is unlinked at once, as ixy does."""

    def __init__(self, folder: Path, number: int) -> None:
        path = folder / f"ixy-{os.getpid()}-{number}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o700)
        os.ftruncate(fd, HUGE_BYTES)
        self.bytes = mmap.mmap(fd, HUGE_BYTES)
        os.close(fd)
        path.unlink()
        self.words = memoryview(self.bytes).cast("Q")
        self.bytes[:] = b"\xff" * HUGE_BYTES
        self.physical = _physical(self.bytes)

    def buffers(self) -> list[int]:
        """Physical addresses of the buffers that it holds."""
        return list(range(self.physical, self.physical + HUGE_BYTES, BUFFER_BYTES))


def _physical(memory: mmap.mmap) -> int:
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        entry = struct.unpack("<Q", os.pread(pagemap.fileno(), 8, address // PAGE_BYTES * 8))[0]
    return int(entry & (1 << 55) - 1) * PAGE_BYTES


class Port:
    """One function by its directory."""

    def __init__(self, device: Path) -> None:
        config = os.open(device / "config", os.O_RDWR)
        vendor, kind = struct.unpack("<HH", os.pread(config, 4, 0))
        assert (vendor, kind) == (0x8086, 0x10FB)
        assert os.pread(config, 4, 8)[3] == 2, "no network controller"
        command = int.from_bytes(os.pread(config, 2, 4), "little")
        os.pwrite(config, (command | 1 << 2).to_bytes(2, "little"), 4)
        os.close(config)
        resource = os.open(device / "resource0", os.O_RDWR)
        self.registers = memoryview(mmap.mmap(resource, os.fstat(resource).st_size)).cast("I")
        self.rx_next = self.tx_next = self.tx_clean = 0
        self.rx = self.tx = self.full = 0
        self.counted = dict.fromkeys(COUNTERS, 0)

    def get(self, offset: int) -> int:
        return self.registers[offset // 4]

    def set(self, offset: int, value: int) -> None:
        self.registers[offset // 4] = value

    def set_bits(self, offset: int, bits: int) -> None:
        self.set(offset, self.get(offset) | bits)

    def clear_bits(self, offset: int, bits: int) -> None:
        self.set(offset, self.get(offset) & ~bits & ALL)

    def wait(self, what: str, offset: int, bits: int, value: int) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while self.get(offset) & bits != value:
            assert time.monotonic() < deadline, f"{what}: {self.get(offset):#x}"
            time.sleep(0.01)

    def reset_and_init(self, rings: Memory, at: int, free: list[int]) -> None:
        """`at`: where in `rings` this port's two rings are; `free`: physical addresses of unused buffers."""
        self.rings, self.ring_at, self.free = rings, at, free
        self.set(EIMC, 0x7FFFFFFF)
        self.set(CTRL, 0x04000008)
        self.wait("CTRL.RST", CTRL, 0x04000008, 0)
        time.sleep(0.01)
        self.set(EIMC, 0x7FFFFFFF)
        self.mac = (self.get(0x5400) | (self.get(0x5404) & 0xFFFF) << 32).to_bytes(6, "little")
        self.wait("EEC.ARD", EEC, 1 << 9, 1 << 9)
        self.wait("RDRXCTL.DMAIDONE", RDRXCTL, 1 << 3, 1 << 3)
        self.set(AUTOC, self.get(AUTOC) & ~(7 << 13) | 3 << 13)
        self.set(AUTOC, self.get(AUTOC) & ~(3 << 7))
        self.set_bits(AUTOC, 1 << 12)
        self.read_counters()
        self._init_rx()
        self._init_tx()
        self._start_rx()
        self._start_tx()
        self.set_bits(FCTRL, 1 << 8 | 1 << 9)

    def _init_rx(self) -> None:
        self.clear_bits(RXCTRL, 1)
        self.set(RXPBSIZE, 0x20000)
        for n in range(1, 8):
            self.set(RXPBSIZE + 4 * n, 0)
        self.set_bits(HLREG0, 1 << 1)
        self.set_bits(RDRXCTL, 1 << 1)
        self.set_bits(FCTRL, 1 << 10)
        self.set(SRRCTL, self.get(SRRCTL) & ~(7 << 25) | 1 << 25)
        self.set_bits(SRRCTL, 1 << 28)
        self._set_ring(RDBAL, RDLEN, self.ring_at)
        self.set(RDH, 0)
        self.set(RDT, 0)
        self.set_bits(CTRL_EXT, 1 << 16)
        self.clear_bits(DCA_RXCTRL, 1 << 12)
        self.set_bits(RXCTRL, 1)

    def _set_ring(self, base: int, length: int, at: int) -> None:
        physical = self.rings.physical + at
        self.set(base, physical & ALL)
        self.set(base + 4, physical >> 32)
        self.set(length, 16 * ENTRIES)

    def _init_tx(self) -> None:
        self.set_bits(HLREG0, 1 << 0 | 1 << 10)
        self.set(TXPBSIZE, 0xA000)
        for n in range(1, 8):
            self.set(TXPBSIZE + 4 * n, 0)
        self.set(DTXMXSZRQ, 0xFFFF)
        self.clear_bits(RTTDCS, 1 << 6)
        self._set_ring(TDBAL, TDLEN, self.ring_at + 16 * ENTRIES)
        self.set(TXDCTL, self.get(TXDCTL) & ~0x3F3F3F | 36 | 8 << 8 | 4 << 16)
        self.set(DMATXCTL, 1)

    def _start_rx(self) -> None:
        self.rx_buffers = [self.free.pop() for _ in range(ENTRIES)]
        for index in range(ENTRIES):
            self._post(index)
        self.set_bits(RXDCTL, ENABLE)
        self.wait("RXDCTL.ENABLE", RXDCTL, ENABLE, ENABLE)
        self.set(RDH, 0)
        self.set(RDT, ENTRIES - 1)

    def _start_tx(self) -> None:
        self.tx_buffers = [0] * ENTRIES
        self.set(TDH, 0)
        self.set(TDT, 0)
        self.set_bits(TXDCTL, ENABLE)
        self.wait("TXDCTL.ENABLE", TXDCTL, ENABLE, ENABLE)

    def _post(self, index: int) -> None:
        word = (self.ring_at + 16 * index) // 8
        self.rings.words[word] = self.rx_buffers[index]
        self.rings.words[word + 1] = 0

    def receive(self) -> list[tuple[int, int]]:
        """At most a burst of (buffer, length); its slots have new buffers, and the tail moves to the last of them."""
        found: list[tuple[int, int]] = []
        while len(found) < BURST and self.free:
            status = self.rings.words[(self.ring_at + 16 * self.rx_next) // 8 + 1]
            if not status & DD:
                break
            assert status & 2, "a frame in several buffers"
            found.append((self.rx_buffers[self.rx_next], status >> 32 & 0xFFFF))
            self.rx_buffers[self.rx_next] = self.free.pop()
            self._post(self.rx_next)
            last, self.rx_next = self.rx_next, (self.rx_next + 1) % ENTRIES
        if found:
            self.set(RDT, last)
        self.rx += len(found)
        return found

    def clean(self, every: int = CLEAN) -> None:
        """Take sent buffers back, 32 at a time by the last one's DD bit."""
        while (self.tx_next - self.tx_clean) % ENTRIES >= every:
            last = (self.tx_clean + every - 1) % ENTRIES
            if not self.rings.words[(self.ring_at + 16 * (ENTRIES + last)) // 8 + 1] >> 32 & DD:
                return
            for _ in range(every):
                self.free.append(self.tx_buffers[self.tx_clean])
                self.tx_clean = (self.tx_clean + 1) % ENTRIES

    def send(self, frames: list[tuple[int, int]]) -> None:
        self.clean()
        for buffer, length in frames:
            if (self.tx_next + 1) % ENTRIES == self.tx_clean:
                self.full += 1
                self.free.append(buffer)
                continue
            word = (self.ring_at + 16 * (ENTRIES + self.tx_next)) // 8
            self.tx_buffers[self.tx_next] = buffer
            self.rings.words[word] = buffer
            self.rings.words[word + 1] = length << 46 | TX | length
            self.tx_next = (self.tx_next + 1) % ENTRIES
            self.tx += 1
        if frames:
            self.set(TDT, self.tx_next)

    def finish(self) -> None:
        """Until everything that was handed over is sent; then both queues off."""
        deadline = time.monotonic() + TIMEOUT_S
        while self.tx_clean != self.tx_next:
            self.clean(1)
            assert time.monotonic() < deadline, "frames stayed in the tx ring"
            time.sleep(0.001)
        self.clear_bits(RXCTRL, 1)
        self.clear_bits(RXDCTL, ENABLE)
        self.clear_bits(TXDCTL, ENABLE)

    def read_counters(self) -> None:
        """They are not cleared by this: a `+= read()` as on the chip would count twice (docs/polled.md)."""
        for name, offset in COUNTERS.items():
            self.counted[name] = self.get(offset)

    def report(self) -> dict[str, int]:
        self.read_counters()
        counts = {"rx": self.rx, "tx": self.tx, "full": self.full, "dropped": self.get(DROPPED)}
        return {**counts, **self.counted}


def forward(ports: list[Port]) -> None:
    """Both ways until standard input ends, and then until nothing has come for a while."""
    quiet: deque[bool] = deque(maxlen=100)
    open_input = True
    while open_input or not all(quiet):
        frames = [port.receive() for port in ports]
        ports[1].send(frames[0])
        ports[0].send(frames[1])
        quiet.append(not any(frames))
        if not any(frames):
            readable, _, _ = select.select([sys.stdin] if open_input else [], [], [], 0.001)
            open_input = open_input and not readable


def main() -> None:
    huge, *devices = (Path(argument) for argument in sys.argv[1:])
    ports = [Port(device) for device in devices]
    rings = Memory(huge, 0)
    pool = Memory(huge, 1)
    free = pool.buffers()
    for number, port in enumerate(ports):
        port.reset_and_init(rings, number * 2 * 16 * ENTRIES, free)
    for port in ports:
        port.wait("LINKS", LINKS, 1 << 30, 1 << 30)
    print("up", flush=True)
    late = Memory(huge, 2)  # as a packet generator's, which comes when the queues run already
    free.extend(late.buffers())
    forward(ports)
    for port in ports:
        port.finish()
    time.sleep(0.3)  # counters are shown ten times a second
    print(json.dumps([port.report() for port in ports]), flush=True)


if __name__ == "__main__":
    main()
