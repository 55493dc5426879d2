"""Interrupts from cause to eventfd: routing, masks, moderation (datasheet 7.3, 8.2.3.5)."""

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ixyfwd.model.datapath.binding import Datapath
from ixyfwd.model.process import Model
from ixyfwd.model.spec import ModelSpec, PortSpec
from ixyfwd.model.wires.cable import CableWire
from ixyfwd.vfiouser.client import Client
from ixyfwd.vfiouser.protocol import DmaMapping, Irq, IrqAction, IrqSet, Region, RequestError
from tests.testing.model_fakes import Bench
from tests.testing.model_hand import Hand
from tests.testing.support import eventually

MSIX_MODE = 1 << 4 | 1 << 30  # GPIE: MSI-X, EIAME
LSC = 1 << 20
VALID = 0x80
TRIGGER = IrqAction.DATA_EVENTFD | IrqAction.TRIGGER
FRAME = bytes.fromhex("ffffffffffff0200000000010800") + bytes(46)
US = 1000


class Irqs:
    """A bench with an eventfd for each of the first `count` vectors of a kind."""

    def __init__(self, kind: Irq, count: int) -> None:
        self.bench = Bench()
        self.kind = kind
        self.fds = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(count)]
        self.bench.port.set_irqs(IrqSet(TRIGGER, kind, 0, count), tuple(self.fds))
        if kind is Irq.MSIX:
            self.bench.write("GPIE", MSIX_MODE)

    def taken(self) -> list[int]:
        """Interrupts on each vector since the last call, the port having been looked at."""
        self.bench.port.tick()
        ready = select.select(self.fds, [], [], 0)[0]
        return [os.eventfd_read(fd) if fd in ready else 0 for fd in self.fds]

    def route(self, queue: int, rx: int | None = None, tx: int | None = None) -> None:
        entry = sum((vector | VALID) << 8 * at for at, vector in enumerate((rx, tx)) if vector is not None)
        old = self.bench.read("IVAR", queue // 2)
        self.bench.write("IVAR", old | entry << 16 * (queue & 1), queue // 2)

    def cause(self, rx: int = 0, tx: int = 0) -> None:
        """Write-backs of these queues, a bit each."""
        self.bench.datapath.causes = (rx, tx)

    def pending(self) -> int:
        self.bench.port.tick()
        return int.from_bytes(self.bench.port.region_read(4, 0x2000, 8), "little")

    def mask(self, vector: int, on: bool) -> None:
        self.bench.port.region_write(4, 16 * vector + 12, int(on).to_bytes(4, "little"))

    def act(self, flags: IrqAction, vector: int = 0) -> None:
        self.bench.port.set_irqs(IrqSet(flags | IrqAction.DATA_NONE, self.kind, vector, 1), ())

    def close(self) -> None:
        self.bench.port.disconnect()
        for fd in self.fds:
            os.close(fd)


@contextmanager
def irqs_of(kind: Irq, count: int) -> Iterator[Irqs]:
    found = Irqs(kind, count)
    yield found
    found.close()


@pytest.fixture
def msix() -> Iterator[Irqs]:
    """MSI-X with four vectors, causes of queue 0 on vector 0, of queue 1 and 127 on 1 and 2, others on 3."""
    with irqs_of(Irq.MSIX, 4) as found:
        found.route(0, rx=0, tx=0)
        found.route(1, rx=1)
        found.route(127, tx=2)
        found.bench.write("IVAR_MISC", (3 | VALID) << 8 | 1 | VALID)
        found.bench.write("EIAC", 0xFFFF)
        found.bench.write("EIMS", 0xFFFFFFFF)
        found.bench.read("EICR")
        yield found


@pytest.mark.parametrize(
    ("rx", "tx", "vectors"),
    [(1, 0, [1, 0, 0, 0]), (0, 1, [1, 0, 0, 0]), (3, 1, [1, 1, 0, 0]), (0, 1 << 127, [0, 0, 1, 0]), (4, 2, [0] * 4)],
)
def test_queues_interrupt_where_ivar_leads(msix: Irqs, rx: int, tx: int, vectors: list[int]) -> None:
    msix.cause(rx, tx)
    assert msix.taken() == vectors
    assert msix.taken() == [0] * 4


def test_other_causes_have_a_vector_of_their_own(msix: Irqs) -> None:
    msix.bench.pass_ms(20)  # the link comes up
    assert msix.taken() == [0, 0, 0, 1]
    assert msix.bench.read("EICS") == LSC  # not in EIAC
    msix.bench.write("EICS", 1 << 30)
    assert msix.taken() == [0, 1, 0, 0]  # the TCP timer's entry


def test_other_causes_without_a_valid_entry_wait_in_eicr(msix: Irqs) -> None:
    msix.bench.write("IVAR_MISC", 3 << 8)
    msix.bench.pass_ms(20)
    assert msix.taken() == [0] * 4
    assert msix.bench.read("EICR") == LSC


def test_eiac_clears_what_was_sent_and_nothing_else(msix: Irqs) -> None:
    msix.bench.write("EIAC", 2)
    msix.cause(3)
    assert msix.taken() == [1, 1, 0, 0]
    assert msix.bench.read("EICR") == 1
    assert msix.taken() == [0] * 4


def test_a_masked_cause_is_sent_when_it_is_enabled(msix: Irqs) -> None:
    msix.bench.write("EIMC", 1)
    msix.cause(1)
    assert msix.taken() == [0] * 4
    assert msix.bench.read("EICS") == 1
    msix.bench.write("EIMS", 1)
    assert msix.taken() == [1, 0, 0, 0]


def test_a_masked_cause_that_was_read_is_not_sent(msix: Irqs) -> None:
    msix.bench.write("EIMC", 1)
    msix.cause(1)
    msix.taken()
    assert msix.bench.read("EICR") == 1
    msix.bench.write("EIMS", 1)
    assert msix.taken() == [0] * 4


def test_eiam_masks_the_causes_of_the_message_only(msix: Irqs) -> None:
    msix.bench.write("EIAM_EX", 0xFFFFFFFF, 0)
    msix.cause(1)
    assert msix.taken() == [1, 0, 0, 0]
    assert msix.bench.read("EIMS_EX", 0) == 0xFFFE
    msix.cause(3)
    assert msix.taken() == [0, 1, 0, 0]
    msix.bench.write("EIMS_EX", 1, 0)
    assert msix.taken() == [1, 0, 0, 0]


def test_without_eiame_nothing_is_masked(msix: Irqs) -> None:
    msix.bench.write("EIAM", 0xFFFF)
    msix.bench.write("GPIE", 1 << 4)
    msix.cause(1)
    assert msix.taken() == [1, 0, 0, 0]
    assert msix.bench.read("EIMS") == 0xFFFFFFFF


def test_software_triggers_at_once(msix: Irqs) -> None:
    msix.bench.write("EICS_EX", 6, 0)
    msix.bench.write("EIMC", 0xFFFF)  # too late
    assert msix.taken() == [0, 1, 1, 0]


def test_eitr_spaces_messages(msix: Irqs) -> None:
    msix.bench.write("EITR", 50 << 3, 0)  # 100 us
    assert msix.bench.port.due_ns() is None
    msix.cause(1)
    assert msix.taken() == [1, 0, 0, 0]
    due = msix.bench.clock.ns + 100 * US
    for _ in range(3):
        msix.cause(3)  # vector 1 is not moderated
        assert msix.taken() == [0, 1, 0, 0]
        msix.bench.clock.ns += 33 * US
        assert msix.bench.port.due_ns() == due
    msix.bench.clock.ns = due
    assert msix.taken() == [1, 0, 0, 0]


def test_eitr_write_ends_the_interval_unless_told_to_leave_it(msix: Irqs) -> None:
    msix.bench.write("EITR", 50 << 3, 0)
    msix.cause(1)
    msix.taken()
    msix.cause(1)
    msix.bench.write("EITR", 1 << 31 | 60 << 3, 0)
    assert msix.taken() == [0] * 4
    assert msix.bench.read("EITR") == 60 << 3
    msix.bench.write("EITR", 60 << 3, 0)
    assert msix.taken() == [1, 0, 0, 0]


def test_the_data_path_is_told_which_queues_matter(msix: Irqs) -> None:
    msix.taken()
    assert msix.bench.datapath.wanted == (True, 0b11, 1 | 1 << 127)
    msix.bench.write("EIMC", 1)
    assert msix.bench.datapath.wanted == (True, 0b11, 1 | 1 << 127)
    msix.taken()
    assert msix.bench.datapath.wanted == (True, 0b10, 1 << 127)
    msix.bench.port.set_irqs(IrqSet(IrqAction.DATA_NONE | IrqAction.TRIGGER, Irq.MSIX, 0, 0), ())
    msix.taken()
    assert msix.bench.datapath.wanted == (False, 0, 0)


def _table(irqs: Irqs, on: bool) -> None:
    irqs.mask(1, on)


def _function(irqs: Irqs, on: bool) -> None:
    irqs.bench.write_config(0x72, 2, 0xC000 if on else 0x8000)


def _client(irqs: Irqs, on: bool) -> None:
    irqs.act(IrqAction.MASK if on else IrqAction.UNMASK, 1)


@pytest.mark.parametrize("set_mask", [_table, _function, _client])
def test_masked_vectors_are_pending_until_unmasked(msix: Irqs, set_mask: Callable[[Irqs, bool], None]) -> None:
    set_mask(msix, True)
    msix.cause(2)
    assert msix.taken() == [0] * 4
    assert msix.pending() == 2
    assert msix.bench.read("EICS") == 2  # EIAC works with the message
    set_mask(msix, False)
    assert msix.taken() == [0, 1, 0, 0]
    assert (msix.pending(), msix.bench.read("EICR")) == (0, 0)


def test_pending_ends_with_its_cause(msix: Irqs) -> None:
    msix.mask(1, True)
    msix.cause(2)
    assert msix.pending() == 2
    msix.bench.read("EICR")
    assert msix.pending() == 0


def test_the_table_reads_back_and_pending_bits_are_read_only(msix: Irqs) -> None:
    msix.bench.port.region_write(4, 0, bytes(range(16)))
    msix.bench.port.region_write(4, 0x2000, b"\xff" * 8)
    assert msix.bench.port.region_read(4, 0, 16) == bytes(range(16))
    assert msix.pending() == 0


def test_a_vector_without_an_eventfd_waits_for_one(msix: Irqs) -> None:
    msix.route(4, rx=9)
    msix.cause(1 << 4)
    assert msix.pending() == 1 << 9
    msix.bench.port.set_irqs(IrqSet(TRIGGER, Irq.MSIX, 9, 1), (msix.fds[0],))
    assert msix.taken() == [1, 0, 0, 0]


def test_a_reset_forgets_causes_and_routes(msix: Irqs) -> None:
    msix.bench.write("EIMC", 1)
    msix.cause(1)
    msix.taken()
    msix.bench.write("CTRL", 1 << 26)
    msix.bench.write("GPIE", MSIX_MODE)
    msix.bench.write("EIMS", 0xFFFF)
    msix.cause(1)
    assert msix.taken() == [0] * 4


@pytest.mark.parametrize("kind", [Irq.MSI, Irq.INTX])
def test_one_interrupt_for_everything(kind: Irq) -> None:
    with irqs_of(kind, 1) as irqs:
        irqs.route(0, rx=5)
        irqs.bench.write("EIAM", 0xFFFF)
        irqs.bench.write("EIMS", 1 << 5)
        irqs.cause(1)
        assert irqs.taken() == [1]
        assert irqs.taken() == [0]
        assert irqs.bench.read("EICR") == 1 << 5
        assert irqs.bench.read("EIMS") == 0  # EIAM, by reading EICR
        irqs.act(IrqAction.UNMASK)
        irqs.cause(1)
        assert irqs.taken() == [0]
        irqs.bench.write("EIMS", 1 << 5)
        assert irqs.taken() == [1]


def test_intx_is_a_level() -> None:
    with irqs_of(Irq.INTX, 1) as irqs:
        irqs.bench.write("EIMS", 2)
        irqs.bench.write("EICS", 2)
        assert irqs.taken() == [1]
        irqs.act(IrqAction.UNMASK)
        assert irqs.taken() == [1]  # nobody has taken the cause away
        irqs.bench.read("EICR")
        irqs.act(IrqAction.UNMASK)
        assert irqs.taken() == [0]
        irqs.bench.write_config(4, 2, 1 << 10)
        irqs.bench.write("EICS", 2)
        assert irqs.taken() == [0]


def test_msi_is_moderated_by_the_first_eitr() -> None:
    with irqs_of(Irq.MSI, 1) as irqs:
        irqs.bench.write("EITR", 8 << 3)
        irqs.bench.write("EIMS", 3)
        irqs.bench.write("EICS", 1)
        irqs.bench.write("EICS", 2)
        assert irqs.taken() == [1]
        irqs.bench.clock.ns += 16 * US
        assert irqs.taken() == [1]


def test_eventfds_that_unmask_are_refused(msix: Irqs) -> None:
    with pytest.raises(RequestError):
        msix.bench.port.set_irqs(IrqSet(IrqAction.DATA_EVENTFD | IrqAction.UNMASK, 0, 0, 1), (msix.fds[0],))


# The data path


@pytest.mark.parametrize("queue", [0, 63, 64, 127])
def test_write_backs_are_noted_while_wanted(queue: int) -> None:
    with Hand() as hand:
        a, b = hand.ports
        tx = hand.tx_ring(a, queue)
        hand.rx_ring(b, 0)
        hand.send(tx, [FRAME])
        assert (a.take_causes(), b.take_causes()) == ((0, 0), (0, 0))
        a.want_causes(True)
        b.want_causes(True)
        hand.send(tx, [FRAME] * 3)
        assert (a.take_causes(), b.take_causes()) == ((0, 1 << queue), (1, 0))
        assert (a.take_causes(), b.take_causes()) == ((0, 0), (0, 0))
        hand.queue_frame(tx, FRAME, flags=1 << 24 | 1 << 25 | 1 << 29 | 3 << 20)  # no RS
        hand.send(tx, [])
        assert (a.take_causes(), b.take_causes()) == ((0, 0), (1, 0))


def test_an_urgent_cause_ends_the_run() -> None:
    with Hand() as hand:
        a, b = hand.ports
        tx = hand.tx_ring(a)
        hand.rx_ring(b)
        b.want_causes(True, 1, 0)
        hand.queue_frame(tx, FRAME)
        hand.tail(tx, tx.next)
        hand.datapath.run(-1, 3_600_000_000_000, True)  # an hour, if nothing ends it
        assert b.take_causes() == (1, 0)


# A client at the socket of a model that moves frames


class Nic:
    """A port by vfio-user: one ring of each kind at queue 0, vector 0 for rx and 1 for tx."""

    def __init__(self, path: str) -> None:
        self.client = Client(path, "vfio-user:nic")
        self.fd = os.memfd_create("nic")
        os.ftruncate(self.fd, 1 << 20)
        self.client.dma_map(DmaMapping(0, 1 << 20), self.fd)
        self.client.region_write(Region.CONFIG, 4, b"\6\0")
        self.events = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2)]
        self.client.set_irqs(IrqSet(TRIGGER, Irq.MSIX, 0, 2), self.events)
        self.sent = 0
        for slot in range(64):
            os.pwrite(self.fd, (0x10000 + 2048 * slot).to_bytes(16, "little"), 16 * slot)
        settings = (
            *((0x5080, 0x700), (0x2F00, 0x0010880A), (0x4A80, 0x81000005), (0x3000, 1)),
            *((0x1008, 1024), (0x1014, 1 << 28 | 1 << 25 | 2), (0x1028, 1 << 25), (0x1018, 63)),
            *((0x6000, 0x8000), (0x6008, 1024), (0x6028, 1 << 25)),
            *((0x898, MSIX_MODE), (0x900, (1 | VALID) << 8 | VALID), (0x810, 3), (0x880, 3)),
        )
        for offset, value in settings:
            self.write(offset, value)
        eventually(lambda: self.read(0x42A4) & 1 << 30, "the link is up")

    def read(self, offset: int) -> int:
        return int.from_bytes(self.client.region_read(Region.BAR0, offset, 4), "little")

    def write(self, offset: int, value: int) -> None:
        self.client.region_write(Region.BAR0, offset, value.to_bytes(4, "little"))

    def send(self) -> None:
        os.pwrite(self.fd, FRAME, 0xC0000)
        dword2 = 1 << 24 | 1 << 25 | 1 << 27 | 1 << 29 | 3 << 20 | len(FRAME)
        descriptor = 0xC0000 | (dword2 | len(FRAME) << 46) << 64
        os.pwrite(self.fd, descriptor.to_bytes(16, "little"), 0x8000 + 16 * (self.sent % 64))
        self.sent += 1
        self.write(0x6018, self.sent % 64)

    def interrupts(self, vector: int, timeout_s: float = 15.0) -> int:
        """How many came; waits for the first."""
        ready = select.select([self.events[vector]], [], [], timeout_s)[0]
        return os.eventfd_read(self.events[vector]) if ready else 0

    def received(self) -> int:
        """Descriptors that are done."""
        return sum(os.pread(self.fd, 1, 16 * slot + 8)[0] & 1 for slot in range(64))

    def close(self) -> None:
        self.client.close()
        for fd in (self.fd, *self.events):
            os.close(fd)


@pytest.fixture
def nics(tmp_path: Path) -> Iterator[tuple[Nic, Nic]]:
    """Two ports joined by a cable, a driver at each."""
    ports = tuple(
        PortSpec(f"p{n}", str(tmp_path / f"p{n}"), f"02:00:00:00:00:0{n}", CableWire(f"p{1 - n}")) for n in (0, 1)
    )
    datapath = Datapath([port.name for port in ports])
    with Model(ModelSpec(ports, str(tmp_path / "control"), share_cpu=True), datapath) as model:
        thread = threading.Thread(target=model.run)
        thread.start()
        try:
            for port in datapath.ports:
                port.start_feed()
            both = Nic(ports[0].socket), Nic(ports[1].socket)
            yield both
            for nic in both:
                nic.close()
        finally:
            model.quit()
            thread.join(10)
            assert not thread.is_alive()
    datapath.close()


def test_a_frame_interrupts_both_ends_of_the_cable(nics: tuple[Nic, Nic]) -> None:
    for _ in range(5):
        nics[0].send()
        assert (nics[0].interrupts(1), nics[1].interrupts(0)) == (1, 1)
    assert (nics[1].received(), nics[1].read(0x800) & 3) == (5, 0)
    assert (nics[0].interrupts(0, 0), nics[1].interrupts(1, 0)) == (0, 0)


def test_a_masked_frame_interrupts_when_unmasked(nics: tuple[Nic, Nic]) -> None:
    nics[1].write(0x888, 1)
    nics[0].send()
    eventually(lambda: nics[1].read(0x808) & 1, "the cause")
    assert nics[1].interrupts(0, 0) == 0
    nics[1].client.region_write(Region.BAR4, 12, b"\1\0\0\0")
    nics[1].write(0x880, 1)
    eventually(lambda: nics[1].client.region_read(Region.BAR4, 0x2000, 1) == b"\1", "the pending bit")
    assert nics[1].interrupts(0, 0) == 0
    nics[1].client.region_write(Region.BAR4, 12, bytes(4))
    assert nics[1].interrupts(0) == 1


def test_moderated_frames_share_an_interrupt(nics: tuple[Nic, Nic]) -> None:
    nics[1].write(0x820, 0x1FF << 3)
    begin = time.monotonic_ns()
    for _ in range(50):
        nics[0].send()
        assert nics[0].interrupts(1) == 1
    eventually(lambda: nics[1].received() == 50, "all frames")
    eventually(lambda: nics[1].read(0x808) & 1 == 0, "the last message")
    intervals = (time.monotonic_ns() - begin) // (0x1FF * 2 * US)
    assert 1 <= nics[1].interrupts(0) <= intervals + 1
