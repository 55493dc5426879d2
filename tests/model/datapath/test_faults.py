"""Every way to misuse the device is a recorded fault, the accounts still close, and nothing else is a fault."""

import pytest

from tests.testing.model_frames import frame
from tests.testing.model_hand import (
    ARENA_BYTES,
    CONTEXT,
    DATA,
    DD,
    DEXT,
    EOP,
    IFCS,
    IOVA,
    PLAIN,
    RS,
    Hand,
    Ring,
)  # fmt: skip

NOWHERE = 0xDEAD0000


def post(hand: Hand, ring: Ring, index: int, address: int) -> None:
    hand.set_desc(ring, index, address, 0)


def test_rx_buffer_outside_any_mapping() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        post(hand, rx, 1, NOWHERE)
        hand.send(tx, [frame(n) for n in range(3)])
        assert hand.read(rx.buffers[0], 60) == frame(0) and hand.read(rx.buffers[2], 60) == frame(2)
        assert hand.desc(rx, 1) == (NOWHERE, 0)  # passed over
        assert a.rx_head(0) == 3 and a.stats.rx_dma_dropped == 1
        (fault,) = a.faults().recent
        assert (fault.kind, fault.direction, fault.queue, fault.index, fault.address) == (
            "dma_unmapped", "rx", 0, 1, NOWHERE,
        )  # fmt: skip
        hand.accounts_close(a)


def test_an_unmapped_rx_buffer_that_is_not_used_is_no_fault() -> None:
    with Hand() as hand:
        a, _ = hand.ports
        rx = hand.rx_ring(a)
        post(hand, rx, 1, NOWHERE)
        hand.run()
        assert a.faults().total == 0


def test_rx_buffer_in_memory_that_is_only_readable() -> None:
    with Hand() as hand:
        a, b = hand.ports
        a.map_dma(NOWHERE & ~0xFFF, 4096, hand.fd, 0, True, False)
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        post(hand, rx, 0, NOWHERE & ~0xFFF)
        hand.send(tx, [frame(0)])
        assert hand.fault_kinds(a) == {"dma_unmapped": 1}


def test_tx_buffer_outside_any_mapping_and_only_writable() -> None:
    with Hand() as hand:
        a, b = hand.ports
        b.map_dma(0x10000, 4096, hand.fd, 0, False, True)
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        for n, address in enumerate((NOWHERE, 0x10000, IOVA + ARENA_BYTES - 10)):
            hand.queue_frame(tx, frame(n))
            hand.set_desc(tx, n, address, 60 << 46 | PLAIN | RS | 60)
        hand.send(tx, [frame(3)])
        assert [one.data for one in hand.receive(rx)] == [frame(3)]
        assert hand.fault_kinds(b) == {"dma_unmapped": 3} and b.stats.tx_dropped == 3
        assert all(hand.desc(tx, n)[1] >> 32 & DD for n in range(4))  # the driver can clean up
        assert [fault.index for fault in b.faults().recent] == [0, 1, 2]


def test_ring_outside_any_mapping() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.ring(a, True, 0, 16), hand.ring(b, False, 0, 16)
        for ring, port in ((rx, a), (tx, b)):
            hand.set(port, ring.window + 4, 0x77)
            hand.set(port, ring.window + 0x14, 1 << 28 | 1 << 25 | 2)
        assert a.start_rx(0) and b.start_tx(0)
        good = hand.tx_ring(b, 1)
        hand.tail(rx, 15)
        hand.tail(tx, 2)
        hand.send(good, [frame(0)])
        assert hand.fault_kinds(b) == {"dma_unmapped": 2} and b.tx_head(0) == 2
        assert hand.fault_kinds(a) == {"dma_unmapped": 1} and a.stats.rx_dma_dropped == 1
        hand.accounts_close(a)


def test_rings_and_buffers_may_straddle_mappings() -> None:
    with Hand() as hand:
        a, b = hand.ports
        for port in (a, b):
            port.unmap_all()
            for page in range(0, ARENA_BYTES, 4096):  # pages in reverse order in the file: nothing is contiguous
                port.map_dma(IOVA + page, 4096, hand.fd, ARENA_BYTES - 4096 - page, True, True)

        def memory_at(offset: int) -> int:
            return ARENA_BYTES - 4096 - (offset & ~4095) + (offset & 4095)

        def write(offset: int, data: bytes) -> None:
            for i, byte in enumerate(data):
                hand.memory[memory_at(offset + i)] = byte

        def read(offset: int, size: int) -> bytes:
            return bytes(hand.memory[memory_at(offset + i)] for i in range(size))

        rx, tx = hand.ring(a, True, 0, 512), hand.ring(b, False, 0, 512)  # 8 KiB each: two pages or more
        hand.set(a, rx.window + 0x14, 1 << 28 | 1 << 25 | 2)
        assert a.start_rx(0) and b.start_tx(0)
        sent = [frame(n, 60 + n) for n in range(500)]
        for n, data in enumerate(sent):
            write(rx.offset + 16 * n, (IOVA + rx.buffers[n] + 1500).to_bytes(8, "little") + bytes(8))
            write(tx.buffers[n] + 1500, data)
            q1 = len(data) << 46 | PLAIN | RS | len(data)
            write(tx.offset + 16 * n, (IOVA + tx.buffers[n] + 1500).to_bytes(8, "little") + q1.to_bytes(8, "little"))
        hand.tail(rx, 500)
        hand.tail(tx, 500)
        hand.run(8)
        assert [read(rx.buffers[n] + 1500, len(data)) for n, data in enumerate(sent)] == sent
        assert all(read(rx.offset + 16 * n + 8, 1)[0] & DD for n in range(500))
        assert a.faults().total == b.faults().total == 0


def test_a_mapping_that_goes_away_under_posted_buffers() -> None:
    with Hand() as hand:
        a, b = hand.ports
        a.map_dma(1 << 40, ARENA_BYTES, hand.fd, 0, True, True)
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        for n in range(16):
            post(hand, rx, n, (1 << 40) + rx.buffers[n])
        hand.run()
        a.unmap_dma(1 << 40, ARENA_BYTES)
        hand.send(tx, [frame(0)])
        assert hand.fault_kinds(a) == {"dma_unmapped": 1}
        a.stop_rx(0)
        again = hand.rx_ring(a)
        for n in range(15):
            post(hand, again, n, IOVA + rx.buffers[n])  # nobody owns them any more
        hand.run()
        assert hand.fault_kinds(a) == {"dma_unmapped": 1}


def test_no_bus_master() -> None:
    with Hand() as hand:
        a, b = hand.ports
        a.set_bus_master(False)
        b.set_bus_master(False)
        hand.rx_ring(a)
        tx = hand.tx_ring(b)
        hand.send(tx, [frame(0)], rounds=5)
        assert hand.fault_kinds(a) == {"dma_no_bus_master": 1} and hand.fault_kinds(b) == {"dma_no_bus_master": 1}
        assert b.tx_head(0) == 0


@pytest.mark.parametrize("tail", [16, 17, 0xFFFF, 0xFFFFFFFF])
def test_tail_outside_the_ring(tail: int) -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a, post=4), hand.tx_ring(b, entries=16)
        hand.run()
        for ring in (rx, tx):
            hand.tail(ring, tail)
        hand.run(40)
        for port in (a, b):
            assert hand.fault_kinds(port) == {"tail_out_of_range": 1}
            assert port.faults().recent[0].index == tail
        hand.tail(rx, 8)
        hand.send(tx, [frame(0)])
        assert len(hand.receive(rx)) == 1  # a good tail works again


def test_rx_tail_back_into_what_the_device_owns() -> None:
    with Hand() as hand:
        a, _ = hand.ports
        rx = hand.rx_ring(a, post=10)
        hand.run()
        hand.tail(rx, 5)
        hand.run()
        assert hand.fault_kinds(a) == {"tail_out_of_range": 1}


def test_rx_descriptor_rewritten_while_owned() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        hand.run()
        post(hand, rx, 0, IOVA + rx.buffers[0] + 64)
        hand.send(tx, [frame(0)])
        assert hand.fault_kinds(a) == {"descriptor_rewritten": 1}
        assert hand.read(rx.buffers[0], 60) == frame(0)  # where it pointed when it was given


@pytest.mark.parametrize("other", ["same ring", "other queue", "other port"])
def test_rx_buffer_posted_twice(other: str) -> None:
    with Hand() as hand:
        a, b = hand.ports
        first = hand.rx_ring(a)
        second = {"same ring": first, "other queue": None, "other port": None}[other]
        if second is None:
            second = hand.rx_ring(a if other == "other queue" else b, 1)
        post(hand, second, 3, IOVA + first.buffers[0])
        hand.run()
        port = second.port
        assert hand.fault_kinds(port) == {"buffer_reused": 1}
        assert port.faults().recent[0].address == IOVA + first.buffers[0]


def test_rx_buffer_posted_twice_through_two_addresses() -> None:
    with Hand() as hand:
        a, _ = hand.ports
        a.map_dma(1 << 40, ARENA_BYTES, hand.fd, 0, True, True)
        rx = hand.rx_ring(a)
        post(hand, rx, 3, (1 << 40) + rx.buffers[0])
        hand.run()
        assert hand.fault_kinds(a) == {"buffer_reused": 1}


def test_sending_from_a_posted_rx_buffer() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        hand.run()
        hand.queue_frame(tx, frame(0))
        hand.write(rx.buffers[5], frame(5))
        hand.set_desc(tx, 0, IOVA + rx.buffers[5], 60 << 46 | PLAIN | 60)
        hand.tail(tx, 1)
        hand.run()
        assert hand.fault_kinds(b) == {"buffer_reused": 1}
        assert b.stats.gptc == 1


@pytest.mark.parametrize(
    "flags,paylen,length,sent",
    [
        (EOP | IFCS | DEXT | 1 << 20, 60, 60, 0),  # reserved DTYP
        (PLAIN, 0, 0, 0),  # empty
        (PLAIN, 16, 16, 0),  # too short
        (PLAIN, 16000, 16000, 0),  # too long
        (PLAIN, 61, 60, 1),  # PAYLEN is not the length
        (EOP | DEXT | DATA, 60, 60, 1),  # no CRC
    ],
    ids=["type", "empty", "short", "long", "paylen", "crc"],
)
def test_bad_tx_descriptor(flags: int, paylen: int, length: int, sent: int) -> None:
    with Hand() as hand:
        a, b = hand.ports
        hand.rx_ring(a)
        tx = hand.tx_ring(b)
        hand.set_desc(tx, 0, IOVA + tx.buffers[0], paylen << 46 | flags | RS | length)
        tx.next = 1
        hand.send(tx, [frame(1)])
        assert hand.fault_kinds(b) == {"bad_descriptor": 1}
        assert b.faults().recent[0].index == 0
        assert (b.stats.gptc, b.stats.tx_dropped) == (1 + sent, 1 - sent)
        assert b.tx_head(0) == 2 and hand.desc(tx, 0)[1] >> 32 & DD


def test_a_ring_full_of_descriptors_without_eop() -> None:
    with Hand() as hand:
        a, b = hand.ports
        hand.rx_ring(a)
        tx = hand.tx_ring(b, entries=16)
        for n in range(15):
            hand.set_desc(tx, n, IOVA + tx.buffers[n], 900 << 46 | DATA | DEXT | IFCS | 60)
        hand.tail(tx, 15)
        hand.run(3)
        assert hand.fault_kinds(b) == {"bad_descriptor": 1}
        assert b.tx_head(0) == 15 and b.stats.gptc == 0 and b.stats.tx_dropped == 1


def test_a_report_is_asked_for_at_the_end_of_a_frame_only() -> None:
    """7.2.3.2.2: RS is permitted only beside EOP. The frame is sent all the same."""
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        hand.queue_frame(tx, frame(0, 300), pieces=[100, 100])
        q0, q1 = hand.desc(tx, 1)
        hand.set_desc(tx, 1, q0, q1 | RS)
        hand.tail(tx, 3)
        hand.run(2)
        assert hand.fault_kinds(b) == {"bad_descriptor": 1}
        assert b.faults().recent[0].index == 1
        assert hand.receive(rx)[0].data == frame(0, 300)


def test_more_than_40_descriptors_for_a_frame() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b, entries=128)
        hand.queue_frame(tx, frame(0, 400), pieces=[10] * 39)
        hand.queue_frame(tx, frame(1, 410), pieces=[10] * 40)
        hand.tail(tx, tx.next)
        hand.run(2)
        assert [one.data for one in hand.receive(rx)] == [frame(0, 400)]
        assert hand.fault_kinds(b) == {"bad_descriptor": 1}


@pytest.mark.parametrize(
    "flags,d3,context",
    [(PLAIN | 1 << 18, 0, 0), (PLAIN | 1 << 19, 0, 0), (PLAIN, 1 << 10, 0), (PLAIN, 2 << 8, 1 << 15)],
    ids=["LinkSec", "timestamp", "IPsec", "FCoE"],
)
def test_offloads_that_are_not_there(flags: int, d3: int, context: int) -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        hand.write(tx.buffers[1], frame(0))
        hand.set_desc(tx, 0, 14 << 9 | 20, CONTEXT | DEXT | context)
        hand.set_desc(tx, 1, IOVA + tx.buffers[1], (d3 | 60 << 14) << 32 | flags | 60)
        hand.tail(tx, 2)
        hand.run(2)
        assert hand.fault_kinds(b) == {"unsupported_offload": 1}
        assert hand.receive(rx)[0].data == frame(0)  # sent as it is


@pytest.mark.parametrize(
    "register,value",
    [(0x00, 64), (0x08, 0), (0x08, 100), (0x10, 16)],
    ids=["base not aligned", "length 0", "length not aligned", "head outside"],
)
@pytest.mark.parametrize("rx", [True, False])
def test_invalid_ring(register: int, value: int, rx: bool) -> None:
    with Hand() as hand:
        a, _ = hand.ports
        ring = hand.ring(a, rx, 0, 16)
        hand.set(a, ring.window + 0x14, 1 << 25 | 2)
        hand.set(a, ring.window + register, value)
        assert not (a.start_rx(0) if rx else a.start_tx(0))
        assert hand.fault_kinds(a) == {"ring_invalid": 1}
        hand.tail(ring, 3)
        hand.run()
        assert a.faults().total == 1


@pytest.mark.parametrize(
    "srrctl", [1 << 25, 2 << 25 | 2, 5 << 25 | 2], ids=["no buffer", "header split", "always split"]
)
def test_invalid_srrctl(srrctl: int) -> None:
    with Hand() as hand:
        a, _ = hand.ports
        ring = hand.ring(a, True, 0, 16)
        hand.set(a, ring.window + 0x14, srrctl)
        assert not a.start_rx(0)
        assert hand.fault_kinds(a) == {"ring_invalid": 1}


def test_the_report_keeps_the_last_64() -> None:
    with Hand() as hand:
        a, _ = hand.ports
        rx = hand.rx_ring(a, post=4)
        hand.run()
        for n in range(100):
            hand.tail(rx, 100 + n)
            hand.run()
        report = a.faults()
        assert report.total == report.by_kind["tail_out_of_range"] == 100
        assert [fault.index for fault in report.recent] == list(range(136, 200))
        assert sorted(fault.time_ns for fault in report.recent) == [fault.time_ns for fault in report.recent]


# the mapping table itself


def test_mappings_refuse_what_they_must() -> None:
    with Hand() as hand:
        a, _ = hand.ports
        for iova, size, offset in ((1, 4096, 0), (0, 4095, 0), (0, 4096, 5), (0, 0, 0), (2**64 - 4096, 8192, 0)):
            with pytest.raises(ValueError, match="DMA mapping of"):
                a.map_dma(iova, size, hand.fd, offset, True, True)
        with pytest.raises(ValueError, match="the file ends before"):
            a.map_dma(0, 8192, hand.fd, ARENA_BYTES - 4096, True, True)
        for iova in (IOVA, IOVA - 4096, IOVA + ARENA_BYTES - 4096):
            with pytest.raises(FileExistsError):
                a.map_dma(iova, 8192, hand.fd, 0, True, True)
        with pytest.raises(OSError, match="Bad file descriptor"):
            a.map_dma(0, 4096, -1, 0, True, True)
        for iova, size in ((IOVA, 4096), (IOVA + 4096, ARENA_BYTES - 4096), (0, 4096), (-1, 4096)):
            with pytest.raises(LookupError):
                a.unmap_dma(iova, size)
        a.unmap_dma(IOVA, ARENA_BYTES)
        with pytest.raises(LookupError):
            a.unmap_dma(IOVA, ARENA_BYTES)
        a.map_dma(2**64 - 4096, 4096, hand.fd, 0, True, True)


def test_a_thousand_mappings_are_found() -> None:
    with Hand() as hand:
        a, b = hand.ports
        b.unmap_all()
        for page in reversed(range(1000)):
            b.map_dma(IOVA + 8192 * page, 4096, hand.fd, 4096 * page, True, True)
        hand.take(4096)
        rx = hand.rx_ring(a)
        ring, buffers = hand.take(4096, 4096), [hand.take(4096, 4096) for _ in range(60)]

        def device(offset: int) -> int:
            return IOVA + offset // 4096 * 8192 + offset % 4096

        tx = hand.ring(b, False, 0, 64)
        hand.set(b, tx.window, device(ring) & 0xFFFFFFFF)
        hand.set(b, tx.window + 4, device(ring) >> 32)
        tx.offset = ring
        assert b.start_tx(0)
        for n, buffer in enumerate(buffers):
            hand.write(buffer, frame(n))
            hand.set_desc(tx, n, device(buffer), 60 << 46 | PLAIN | 60)
        got = []
        for tail in range(15, 61, 15):
            hand.tail(tx, tail)
            hand.run(2)
            got += [one.data for one in hand.receive(rx)]
        assert got == [frame(n) for n in range(60)] and b.faults().total == 0
