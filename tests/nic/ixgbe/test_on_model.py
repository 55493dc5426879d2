"""The driver on the real model, over a real vfio-user socket: no faults, and both sides agree about the chip."""

import mmap
import os
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from ixyfwd.errors import DeviceGoneError
from ixyfwd.memory.layout import ARENA_PAGE_BYTES
from ixyfwd.model.chip.profiles import X550, build_register_map
from ixyfwd.model.client import ModelClient
from ixyfwd.model.spec import ModelSpec, PortSpec
from ixyfwd.model.wires.contract import Wire
from ixyfwd.model.wires.generator import GeneratorWire
from ixyfwd.model.wires.none import NoWire
from ixyfwd.nic.flow import flow_of_frame
from ixyfwd.nic.ixgbe.descriptors import RSS_TYPES
from ixyfwd.nic.ixgbe.device import Ixgbe
from ixyfwd.nic.ixgbe.register import Register
from ixyfwd.nic.ixgbe.stats import COUNTERS, PACKET_BUFFER_MISSES, PER_QUEUE
from ixyfwd.nic.options import PortOptions
from ixyfwd.nic.rss import RssOptions, predict
from ixyfwd.pci.function import DmaMap, Function
from ixyfwd.pci.open import open_function
from ixyfwd.supervisor.modelproc import ModelProcess
from tests.testing.support import eventually

QUEUES = 4
ENTRIES = 64
FRAMES = 200
BUFFER_BYTES = 2048
ARENA_BYTES = 2 * ARENA_PAGE_BYTES
RING_BYTES = 16 * ENTRIES
BUFFERS_BASE = 2 * QUEUES * RING_BYTES
TX_COMMAND = 0x2B300000  # EOP, IFCS, RS, DEXT, data descriptor


@dataclass
class Bench:
    """A model with one port, reached and mapped."""

    driver: Ixgbe
    function: Function
    process: ModelProcess
    arena: memoryview
    dma: DmaMap

    @property
    def client(self) -> ModelClient:
        return self.process.client

    def bring_up(self, options: PortOptions | None = None) -> None:
        self.arena[:BUFFERS_BASE] = b"\xff" * BUFFERS_BASE
        self.driver.reset_and_init(options or PortOptions(rss=RssOptions(queues=QUEUES)))
        for queue in range(QUEUES):
            self.driver.setup_rx_queue(queue, self.dma.address(self.rx_ring(queue)), ENTRIES)
            self.driver.setup_tx_queue(queue, self.dma.address(self.tx_ring(queue)), ENTRIES)
        assert self.driver.wait_link(5.0).up

    def rx_ring(self, queue: int) -> int:
        return 2 * queue * RING_BYTES

    def tx_ring(self, queue: int) -> int:
        return (2 * queue + 1) * RING_BYTES

    def buffer(self, queue: int, slot: int) -> int:
        return BUFFERS_BASE + (queue * ENTRIES + slot) * BUFFER_BYTES

    def fill(self, queue: int) -> None:
        """What a worker does first: buffers into all slots but one, then the tail."""
        for slot in range(ENTRIES - 1):
            address = self.dma.address(self.buffer(queue, slot))
            struct.pack_into("<QQ", self.arena, self.rx_ring(queue) + 16 * slot, address, 0)
        self.function.write32(0x1018 + 0x40 * queue, ENTRIES - 1)

    def received(self, queue: int) -> list[tuple[bytes, int, int]]:
        """(frame, RSS hash, RSS type) of every descriptor that was written back."""
        found = []
        for slot in range(ENTRIES - 1):
            d0, d1, d2, d3 = struct.unpack_from("<IIII", self.arena, self.rx_ring(queue) + 16 * slot)
            if d2 & 3 == 3:
                start = self.buffer(queue, slot)
                found.append((bytes(self.arena[start : start + (d3 & 0xFFFF)]), d1, d0 & 0xF))
        return found

    def send(self, queue: int, count: int) -> None:
        """Send the first `count` received frames of a queue back."""
        for slot in range(count):
            length = struct.unpack_from("<H", self.arena, self.rx_ring(queue) + 16 * slot + 12)[0]
            words = (self.dma.address(self.buffer(queue, slot)), TX_COMMAND | length, length << 14)
            struct.pack_into("<QII", self.arena, self.tx_ring(queue) + 16 * slot, *words)
        self.function.write32(0x6018 + 0x40 * queue, count)

    def faults(self) -> object:
        return self.client.stats()["ports"][0]["faults"]


def start(tmp_path: Path, stack: ExitStack, wire: Wire, device: int = 0x10FB) -> Bench:
    port = PortSpec("p0", str(tmp_path / "p0.sock"), "02:69:78:79:00:05", wire, device)
    process = ModelProcess(ModelSpec((port,), str(tmp_path / "control.sock")))
    stack.callback(process.end)
    function = open_function(f"vfio-user:{port.socket}")
    stack.callback(function.close)
    fd = os.memfd_create("arena")
    stack.callback(os.close, fd)
    os.ftruncate(fd, ARENA_BYTES)
    arena = memoryview(mmap.mmap(fd, ARENA_BYTES))
    return Bench(Ixgbe(function, "p0"), function, process, arena, function.map_dma(fd, ARENA_BYTES))


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield start(tmp_path, stack, NoWire())


@pytest.fixture
def fed(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield start(tmp_path, stack, GeneratorWire(flows=64, count=FRAMES, rate=100_000.0))


NONE = {"total": 0, "by_kind": {}, "recent": []}


def test_bring_up_and_stop_twice_in_a_row_without_a_fault(quiet: Bench) -> None:
    for _ in range(2):
        quiet.bring_up()
        assert quiet.driver.mac == "02:69:78:79:00:05"
        quiet.driver.start_receive()
        quiet.driver.read_statistics()
        quiet.driver.steer([0, 1])
        quiet.driver.set_promiscuous(False)
        quiet.driver.set_mac_filters(["02:00:00:00:00:01"])
        quiet.driver.stop()
        assert quiet.driver.stop_problems == ()
    assert quiet.faults() == NONE


def test_an_address_that_was_set_is_valid_until_the_next_reset(quiet: Bench) -> None:
    """RAL/RAH with AV while it runs; the reset of the next bring-up loads the NVM's again."""
    low, high = 0xA200, 0xA204
    quiet.bring_up(PortOptions(mac="02:12:34:56:78:9a", rss=RssOptions(queues=QUEUES)))
    assert quiet.driver.mac == "02:12:34:56:78:9a"
    assert (quiet.function.read32(low), quiet.function.read32(high)) == (0x56341202, 1 << 31 | 0x9A78)
    assert not quiet.function.read32(high + 8) >> 31, "and no other"
    quiet.driver.stop()
    quiet.bring_up()
    assert quiet.driver.mac == "02:69:78:79:00:05"
    assert (quiet.function.read32(low), quiet.function.read32(high)) == (0x79786902, 1 << 31 | 0x0500)
    quiet.driver.stop()
    assert quiet.faults() == NONE


def test_a_queue_is_set_up_again_while_the_others_run(quiet: Bench) -> None:
    quiet.bring_up()
    quiet.driver.start_receive()
    for queue in range(QUEUES):
        quiet.fill(queue)
    quiet.driver.steer([0, 2, 3])
    quiet.driver.disable_rx_queue(1)
    quiet.driver.disable_tx_queue(1)
    quiet.driver.setup_rx_queue(1, quiet.dma.address(quiet.rx_ring(1)), ENTRIES)
    quiet.driver.setup_tx_queue(1, quiet.dma.address(quiet.tx_ring(1)), ENTRIES)
    quiet.fill(1)
    quiet.driver.steer(range(QUEUES))
    assert quiet.driver.rx_tail(1) == ENTRIES - 1 and quiet.driver.rx_head(1) == 0
    quiet.driver.stop()
    assert quiet.faults() == NONE


def test_the_link_is_seen_to_go_and_to_come_back(quiet: Bench) -> None:
    quiet.bring_up()
    assert quiet.driver.link().speed_mbps == 10000
    quiet.client.set_link("p0", False)
    eventually(lambda: not quiet.driver.link().up, "the link is down")
    assert quiet.driver.link().speed_mbps == 0
    quiet.client.set_link("p0", True)
    assert quiet.driver.wait_link(5.0).up
    quiet.driver.stop()


def receive_all(bench: Bench) -> None:
    bench.bring_up()
    for queue in range(QUEUES):
        bench.fill(queue)
    bench.driver.start_receive()
    bench.client.start()
    eventually(bench.client.feeds_done, "the generator has sent its frames")

    def all_counted() -> bool:
        bench.driver.read_statistics()
        return bench.driver.statistics.rx_packets == FRAMES

    eventually(all_counted, "every frame is in a ring or a drop counter")


def test_frames_arrive_where_the_driver_predicts_with_the_hash_it_predicts(fed: Bench) -> None:
    receive_all(fed)
    options = RssOptions(queues=QUEUES)
    queues_seen = set()
    for queue in range(QUEUES):
        for frame, rss_hash, rss_type in fed.received(queue):
            flow = flow_of_frame(frame)
            assert flow is not None, (queue, len(frame), frame[:48].hex(), hex(rss_hash), rss_type)
            expected = predict(flow, options)
            assert (expected.queue, expected.hash) == (queue, rss_hash)
            assert rss_type == (RSS_TYPES[expected.field] if expected.field else 0)
            queues_seen.add(queue)
    assert queues_seen == set(range(QUEUES))
    fed.driver.stop()
    assert fed.faults() == NONE


def test_every_frame_is_counted_once_and_what_is_sent_too(fed: Bench) -> None:
    receive_all(fed)
    statistics = fed.driver.statistics
    in_rings = Counter({queue: len(fed.received(queue)) for queue in range(QUEUES)})
    assert statistics.queues["QPRC"] == [in_rings[queue] for queue in range(QUEUES)]
    assert statistics.rx_delivered == in_rings.total()
    assert statistics.rx_delivered + statistics.rx_no_descriptor == FRAMES
    assert statistics.rx_bytes == 60 * in_rings.total()
    assert statistics.counters["GPRC"] == statistics.counters["RXNFGPC"] == FRAMES
    assert (statistics.rx_missed, statistics.rx_errors, statistics.rx_filtered) == (0, 0, 0)
    for queue in range(QUEUES):
        assert fed.driver.rx_head(queue) == in_rings[queue]
        fed.send(queue, in_rings[queue])
    eventually(lambda: all(fed.driver.tx_drained(queue) for queue in range(QUEUES)), "everything is sent")
    fed.driver.read_statistics()
    assert statistics.queues["QPTC"] == [in_rings[queue] for queue in range(QUEUES)]
    assert statistics.tx_packets == in_rings.total()
    assert statistics.saturated == set()
    fed.driver.stop()
    assert fed.driver.stop_problems == ()
    assert fed.faults() == NONE


def test_a_stopped_receiver_takes_nothing(fed: Bench) -> None:
    fed.bring_up()
    for queue in range(QUEUES):
        fed.fill(queue)
    fed.driver.start_receive()
    fed.driver.stop_receive()
    fed.client.start()
    eventually(fed.client.feeds_done, "the generator has sent its frames")
    fed.driver.read_statistics()
    assert fed.driver.statistics.rx_packets == 0
    assert not any(fed.received(queue) for queue in range(QUEUES))
    fed.driver.stop()
    assert fed.faults() == NONE


def test_a_filtered_port_takes_only_its_own(fed: Bench) -> None:
    fed.bring_up(PortOptions(promiscuous=False, mac="02:00:00:00:ee:ee", rss=RssOptions(queues=QUEUES)))
    for queue in range(QUEUES):
        fed.fill(queue)
    fed.driver.start_receive()
    fed.client.start()
    eventually(fed.client.feeds_done, "the generator has sent its frames")
    fed.driver.read_statistics()
    assert fed.driver.statistics.rx_packets == 0
    assert fed.driver.statistics.rx_filtered == FRAMES
    fed.driver.stop()


def test_a_model_that_dies_is_a_device_that_is_gone_and_stop_is_safe(quiet: Bench) -> None:
    quiet.bring_up()
    os.kill(quiet.process.child.pid, 9)
    with pytest.raises(DeviceGoneError):
        quiet.driver.read_statistics()
    quiet.driver.stop()
    assert len(quiet.driver.stop_problems) == 1


@pytest.mark.parametrize("device", [0x10F9, 0x154D])
def test_siblings_come_up_too(tmp_path: Path, device: int) -> None:
    with ExitStack() as stack:
        bench = start(tmp_path, stack, NoWire(), device)
        bench.bring_up()
        bench.driver.stop()
        assert bench.faults() == NONE


def test_the_two_register_tables_agree() -> None:
    """Written independently from the same description: a name must be at one place in both."""
    model = build_register_map(X550).at  # the base table, and what the X550 has besides
    for register in Register.__subclasses__():
        for index in range(register.count):
            cell = model.get(register[index].offset)
            assert cell is not None, f"the model does not know {register[index].name}"
            assert (cell.register.name, cell.number) == (register.__name__, index)
    for counter in COUNTERS:
        assert counter.low in model and (counter.high is None or counter.high in model), counter.name
    for row in (*PER_QUEUE, PACKET_BUFFER_MISSES):
        cell = model[row.low + row.stride * (row.count - 1)]
        assert cell.number == row.count - 1
