"""Files that shrink under the model: the mapping is lost and reported, the process and the other ports go on."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ixyfwd.model.client import ModelClient
from ixyfwd.model.wires.generator import GeneratorWire
from tests.testing.model_child import RING, Start, connect_if_free, drivers, model_processes
from tests.testing.model_frames import frame
from tests.testing.model_hand import ARENA_BYTES, IOVA, Hand
from tests.testing.support import eventually


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with model_processes(tmp_path) as found:
        yield found


def test_a_file_that_shrinks_under_a_transmit_ring() -> None:
    with Hand() as hand:
        a, b = hand.ports
        tx = hand.tx_ring(b)
        hand.queue_frame(tx, frame(0, 60))
        os.ftruncate(hand.fd, 0)
        hand.tail(tx, 1)
        hand.run(2)
        fault = b.faults().recent[0]
        assert (fault.kind, fault.address, fault.index) == ("dma_lost", IOVA, tx.offset // 4096)
        assert b.faults().by_kind["dma_lost"] == 1
        assert a.faults().total == 0, "nothing has touched that port's mapping"


def test_a_file_that_shrinks_behind_the_rings() -> None:
    """The rings are still there, the third buffer is not."""
    with Hand() as hand:
        a, b = hand.ports
        tx = hand.tx_ring(b, entries=8)
        rx = hand.rx_ring(a, entries=8)
        hand.run()
        for number in range(3):
            hand.queue_frame(tx, frame(number, 60))
        end = 5 * 4096
        assert tx.buffers[2] < rx.buffers[1] < end <= rx.buffers[2]
        os.ftruncate(hand.fd, end)
        hand.tail(tx, 3)
        hand.run(2)
        assert hand.fault_kinds(a) == {"dma_lost": 1, "descriptor_rewritten": 3}, "the ring went with the mapping"
        (lost,) = [fault for fault in a.faults().recent if fault.kind == "dma_lost"]
        assert (lost.address, lost.index) == (IOVA, rx.buffers[2] // 4096)
        assert not hand.fault_kinds(b)
        hand.accounts_close(a)
        hand.accounts_close(b)


def test_a_lost_mapping_is_out_of_reach_until_it_is_made_again() -> None:
    with Hand() as hand:
        _, b = hand.ports
        tx = hand.tx_ring(b)
        hand.queue_frame(tx, frame(0, 60))
        os.ftruncate(hand.fd, 0)
        hand.tail(tx, 1)
        hand.run()
        sent = b.stats.gptc
        hand.tail(tx, 3)
        hand.run(2)
        kinds = hand.fault_kinds(b)
        assert kinds["dma_lost"] == 1
        assert kinds["dma_unmapped"] >= 2, "the descriptors cannot be fetched"
        assert b.stats.gptc == sent
        b.unmap_dma(IOVA, ARENA_BYTES)
        os.ftruncate(hand.fd, ARENA_BYTES)
        b.map_dma(IOVA, ARENA_BYTES, hand.fd, 0, True, True)
        hand.queue_frame(tx, frame(1, 60))
        hand.queue_frame(tx, frame(2, 60))
        hand.queue_frame(tx, frame(3, 60))
        hand.tail(tx, 4)
        hand.run(2)
        assert b.stats.gptc == sent + 1


def test_the_register_file_cannot_be_cut_short() -> None:
    with Hand() as hand, pytest.raises(PermissionError):
        os.ftruncate(hand.ports[0].store_fd, 0)


@pytest.mark.parametrize("how", ["touch", "kill"])
def test_other_bus_errors_still_kill(how: str) -> None:
    """A data path in the process does not hide mistakes elsewhere."""
    code = """
import mmap, os, signal, sys
from ixyfwd.model.datapath.binding import Datapath
datapath = Datapath(["a"])
datapath.run(-1, 0, False)
fd = os.memfd_create("x")
os.ftruncate(fd, 4096)
memory = mmap.mmap(fd, 4096)
os.ftruncate(fd, 0)
memory[0] if sys.argv[1] == "touch" else os.kill(os.getpid(), signal.SIGBUS)
"""
    done = subprocess.run([sys.executable, "-c", code, how], check=False, timeout=20)
    assert done.returncode == -signal.SIGBUS


def test_a_client_that_truncates_while_traffic_flows(start: Start, tmp_path: Path) -> None:
    process, spec = start(GeneratorWire(flows=4, rate="max"), GeneratorWire(flows=4, rate="max"))
    control = ModelClient(spec.control)
    control.start()
    bad, good = drivers(spec)
    bad.receive()
    bad.ring_bell(0x1018, RING // 2)
    eventually(lambda: bad.received(0), "frames flow")
    os.ftruncate(bad.arena, 0)
    bad.ring_bell(0x1018, RING - 1)
    faults = eventually(
        lambda: [f for f in control.stats()["ports"][0]["faults"]["recent"] if f["kind"] == "dma_lost"],
        "the model notices",
    )
    assert faults[0]["address"] == bad.dma.address(0)
    good.receive()
    good.ring_bell(0x1018, RING - 1)
    eventually(lambda: good.received(0), "the other port goes on")
    assert "dma_lost" not in control.stats()["ports"][1]["faults"]["by_kind"]
    bad.close()
    again = eventually(lambda: connect_if_free(spec), "the port is free")
    again.receive()
    again.ring_bell(0x1018, RING - 1)
    eventually(lambda: again.received(0), "a fresh client is served")
    assert process.child.poll() is None
    for driver in (good, again):
        driver.close()
    control.close()
