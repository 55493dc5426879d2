"""The X540 and the X550: what they do otherwise than the 82599."""

import pytest

from ixyfwd.model.chip.nvm import CHECKSUM_SUM, covered_sum
from tests.testing.model_fakes import Bench
from tests.testing.model_frames import flow
from tests.testing.model_hand import HASH_ALL, MICROSOFT_KEY, Hand

X540, X550 = 0x1528, 0x1563
COMMAND, READ, WRITE = 1 << 30, 3 << 26, 1 << 26
SWITCHED_ON = 1 << 12  # AUTOC.AN_RESTART
HICR_GO = 1 << 1 | 1
LINK = 1 << 30


def mdio(bench: Bench, device: int, register: int, value: int | None = None, address: int = 0) -> int:
    """A clause-45 read, or a write, as drivers do it: the address cycle, then the other."""
    place = device << 16 | address << 21
    bench.write("MSCA", place | register | COMMAND)
    if value is not None:
        bench.write("MSRWD", value)
        bench.write("MSCA", place | WRITE | COMMAND)
        return 0
    bench.write("MSCA", place | READ | COMMAND)
    assert not bench.read("MSCA") & COMMAND
    return bench.read("MSRWD") >> 16


def shadow_ram(bench: Bench, word: int, count: int = 1) -> list[int]:
    """NVM words by the host interface: addresses and lengths in bytes, big endian."""
    bench.write("FLEX_MNG", 0x31 | 6 << 16 | 0xFF << 24)
    bench.write("FLEX_MNG", int.from_bytes((2 * word).to_bytes(4, "big"), "little"), 1)
    bench.write("FLEX_MNG", int.from_bytes((2 * count).to_bytes(2, "big"), "little"), 2)
    bench.write("HICR", bench.read("HICR") | HICR_GO)
    assert bench.read("HICR") & 7 == 5, "enabled, not busy, status valid"
    dwords = [bench.read("FLEX_MNG", 3 + n) for n in range((count + 1) // 2)]
    return [half for dword in dwords for half in (dword & 0xFFFF, dword >> 16)][:count]


@pytest.mark.parametrize(("device_id", "identity"), [(X540, 0x01540200), (X550, 0x01540221)])
def test_the_internal_phy(device_id: int, identity: int) -> None:
    bench = Bench(device_id)
    assert mdio(bench, 1, 2) << 16 | mdio(bench, 1, 3) == identity
    assert mdio(bench, 1, 8) >> 14 == 2, "present"
    assert mdio(bench, 1, 4) & 1, "10 Gb/s"
    assert mdio(bench, 1, 2, address=1) == 0xFFFF, "nobody at other addresses"
    mdio(bench, 7, 0, 0x3200)  # restart of the negotiation: clears itself
    assert mdio(bench, 7, 0) == 0x3000
    assert not mdio(bench, 1, 1) & 4
    bench.pass_ms(20)
    assert mdio(bench, 1, 1) & 4 and mdio(bench, 7, 1) & 0x24 == 0x24


@pytest.mark.parametrize(("device_id", "second"), [(0x10FB, 0), (X540, 1), (X550, 1)])
def test_regsmp_is_taken_by_reading(device_id: int, second: int) -> None:
    bench = Bench(device_id)
    assert [bench.read("SW_FW_SYNC") >> 31 for _ in range(2)] == [0, second]
    bench.write("SW_FW_SYNC", 2)
    assert bench.read("SW_FW_SYNC") == 2


def test_the_82599_has_no_phy() -> None:
    assert {mdio(Bench(), 1, 2, address=address) for address in range(32)} == {0xFFFF}


@pytest.mark.parametrize("device_id", [X540, X550])
def test_autoc_does_not_move_a_copper_link(device_id: int) -> None:
    bench = Bench(device_id)
    bench.pass_ms(20)
    assert bench.read("LINKS") & LINK
    bench.write("AUTOC", SWITCHED_ON)
    assert bench.read("LINKS") & LINK
    bench.port.set_cable(False)
    assert not bench.read("LINKS") & LINK


@pytest.mark.parametrize(("device_id", "kilobytes"), [(0x10FB, 512), (X540, 384), (X550, 384)])
def test_the_packet_buffer(device_id: int, kilobytes: int) -> None:
    assert Bench(device_id).read("RXPBSIZE") == kilobytes << 10


@pytest.mark.parametrize("device_id", [X540, X550])
def test_the_checksum_of_the_nvm(device_id: int) -> None:
    bench = Bench(device_id)
    words = []
    for word in range(64):
        bench.write("EERD", word << 2 | 1)
        words.append(bench.read("EERD") >> 16)
    assert sum(words) & 0xFFFF == CHECKSUM_SUM


def test_the_nvm_by_the_host_interface() -> None:
    bench = Bench(X550)
    words = shadow_ram(bench, 0, 64)
    assert covered_sum(words) == CHECKSUM_SUM
    assert [shadow_ram(bench, word)[0] for word in range(64)] == words
    assert shadow_ram(bench, 1023, 3)[1:] == [0xFFFF, 0xFFFF], "beyond the end"


def test_an_82599_has_no_host_interface() -> None:
    bench = Bench()
    bench.write("HICR", HICR_GO)
    assert bench.read("HICR") & 1 == 0


def test_the_larger_redirection_table_is_the_x550s_alone() -> None:
    assert ("reta_entries", 512) in Bench(X550).datapath.calls
    assert ("reta_entries", 128) in Bench(X540).datapath.calls
    bench = Bench(X550)
    bench.write("ERETA", 0x3F3E3D3C, 95)
    assert bench.read_at(0xEE80 + 4 * 95) == 0x3F3E3D3C
    other = Bench(X540)
    other.write_at(0xEE80, 1)
    assert other.read_at(0xEE80) == 0, "not implemented"


@pytest.mark.parametrize("entries", [128, 512])
def test_the_queue_by_the_redirection_table(entries: int) -> None:
    """Entry i leads to queue i >> 3 of 64 on the X550, to i & 15 on the others; what is beyond 128 is ERETA."""
    with Hand() as hand:
        a, b = hand.ports
        a.set_reta_entries(entries)
        hand.rss(a, MICROSOFT_KEY, HASH_ALL)
        queues = 16 if entries == 128 else 64
        for index in range(0, entries, 4):
            at = 0xEB00 + index if index < 128 else 0xEE80 + index - 128
            found = [n % 16 if entries == 128 else n >> 3 for n in range(index, index + 4)]
            hand.set(a, at, int.from_bytes(bytes(found), "little"))
        rings = [hand.rx_ring(a, queue, entries=32) for queue in range(queues)]
        tx = hand.tx_ring(b, entries=512)
        frames = {port: flow(port) for port in range(300)}
        hand.send(tx, frames.values())
        got = {one.data: one for ring in rings for one in hand.receive(ring)}
        assert len(got) == 300
        for data in frames.values():
            index = got[data].dword1 % entries
            assert got[data].queue == (index % 16 if entries == 128 else index >> 3)
        assert len({one.queue for one in got.values()}) > queues // 2
        hand.accounts_close(a)
