"""The device: a thread that serves the queues of one port and makes the frames that arrive there."""

import os
import select
import threading
from dataclasses import dataclass, field

from ixyfwd.nic.toy.descriptors import BAD, LAST, POISON, Places, distance

LOOK_S = 0.002
LOT = 32  # descriptors that are finished together, last first


class DeviceRing:
    """The device's side of a ring. `words`: the ring's memory by four bytes."""

    def __init__(self, words: memoryview, entries: int) -> None:
        self.words, self.entries = words, entries
        self.places = Places(entries)
        self.taken = 0  # available entries that were looked at
        poisoned = all(word == POISON * 0x01010101 for word in words[: self.places.available_index])
        if not poisoned or any(words[self.places.available_index :]):
            raise ValueError("the ring was not poisoned as the toy wants it")

    def waiting(self) -> int:
        """Available entries that were not taken."""
        return distance(self.taken, self.words[self.places.available_index])

    def take(self) -> tuple[int, int, int, int]:
        """The next available slot, and its descriptor's address, length and flags."""
        slot = self.words[self.places.available + self.taken % self.entries]
        self.taken = (self.taken + 1) & 0xFFFF_FFFF
        low, high, length, flags = self.words[8 * slot : 8 * slot + 4]
        return slot, low | high << 32, length, flags

    def finish(self, done: list[tuple[int, int]]) -> None:
        """Put slots with lengths into the used ring, last first, and then move its index."""
        index = self.words[self.places.used_index]
        for k, (slot, length) in enumerate(reversed(done)):
            at = self.places.used + 2 * ((index + k) % self.entries)
            self.words[at], self.words[at + 1] = slot, length
        self.words[self.places.used_index] = (index + len(done)) & 0xFFFF_FFFF


@dataclass
class Queue:
    """A queue pair with its two doorbells."""

    rx_bell: int = field(default_factory=lambda: os.eventfd(0, os.EFD_NONBLOCK))
    tx_bell: int = field(default_factory=lambda: os.eventfd(0, os.EFD_NONBLOCK))
    rx: DeviceRing | None = None
    tx: DeviceRing | None = None
    received: int = 0  # frames
    sent: int = 0


class Device:
    """`frames` frames arrive once reception is on, spread over the queues, every 50th of them broken; `sends` frames
    leave at most, and then it is stuck."""

    def __init__(self, frames: int, sends: int) -> None:
        self.lock = threading.Lock()  # held while anything moves
        self.queues: list[Queue] = []
        self.memory = memoryview(b"")
        self.base = 0  # the device address of memory[0]
        self.receiving = False
        self.left = frames
        self.sends = sends
        self.made = 0
        self.counts = {"rx_packets": 0, "rx_bytes": 0, "tx_packets": 0, "tx_bytes": 0}
        self.faults: list[str] = []
        self.called = 0  # notifications heard
        self._thread: threading.Thread | None = None
        self._over = threading.Event()

    def start(self) -> None:
        """Serve the queues from now on. Harmless when called twice."""
        if self._thread is not None:
            return
        self._over.clear()
        self._thread = threading.Thread(target=self._serve, name="toy device", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Nothing moves any more when this returns. Harmless when called twice."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """Let the doorbells go."""
        for queue in self.queues:
            os.close(queue.rx_bell)
            os.close(queue.tx_bell)
        self.queues = []

    def _serve(self) -> None:
        heard: set[int] = set()
        while not self._over.is_set():
            bells = [bell for queue in self.queues for bell in (queue.rx_bell, queue.tx_bell)]
            for bell in select.select(bells, [], [], LOOK_S)[0]:
                self.called += os.eventfd_read(bell)
                heard.add(bell)
            with self.lock:
                # What nobody told the device of it does not know of.
                for queue in self.queues:
                    if queue.tx is not None and queue.tx_bell in heard:
                        queue.sent += self.send(queue.tx)
                        heard.discard(queue.tx_bell)
                    if queue.rx is not None and queue.rx_bell in heard and self.receiving:
                        queue.received += self.receive(queue.rx)

    def send(self, ring: DeviceRing) -> int:
        """Send what is available; the number of frames."""
        before = self.counts["tx_packets"]
        while n := min(LOT, ring.waiting(), self.sends):
            self.sends -= n
            done: list[tuple[int, int]] = []
            for _ in range(n):
                slot, address, length, flags = ring.take()
                if not 0 <= address - self.base < len(self.memory) or not 14 <= length <= 1518 or flags != LAST:
                    self.faults.append(f"slot {slot} says {address:#x}, {length} bytes, flags {flags:#x}")
                self.counts["tx_packets"] += 1
                self.counts["tx_bytes"] += length
                done.append((slot, 0))
            ring.finish(done)
        return self.counts["tx_packets"] - before

    def receive(self, ring: DeviceRing) -> int:
        """Let frames arrive, a lot at most and no more than there is room for; the number of frames."""
        done: list[tuple[int, int]] = []
        for _ in range(min(LOT, self.left, ring.waiting())):
            slot, address, _, _ = ring.take()
            length = 60 + self.made % 1000
            at = address - self.base
            if 0 <= at <= len(self.memory) - 2048:
                self.memory[at : at + length] = bytes([self.made & 0xFF]) * length
            else:
                self.faults.append(f"slot {slot} says {address:#x}")
            self.made += 1
            self.left -= 1
            self.counts["rx_packets"] += 1
            self.counts["rx_bytes"] += length
            done.append((slot, length | (BAD if self.made % 50 == 0 else 0)))
        ring.finish(done)
        return len(done)
