"""Double VLAN mode (CTRL_EXT.EXTENDED_VLAN, DMATXCTL.GDV): an outer tag before the one that counts."""

import struct

import pytest
from scapy.all import IP, UDP, Dot1AD, Dot1Q, Ether, Raw

from tests.testing.model_hand import DD, IOVA, IPCS, L4CS, PLAIN, RS, UDPCS, VLE, VP, Hand, Received

ETHER = Ether(dst="02:00:00:00:00:01", src="02:00:00:00:00:02")
BODY = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / Raw(b"x" * 40)
CHECKED, VEXT = IPCS | L4CS | UDPCS, 1 << 9
CTRL_EXT, VLNCTRL, VFTA, EXVET = 0x00018, "VLNCTRL", 0xA000, "EXVET"
DOUBLE: dict[int | str, int] = {CTRL_EXT: 1 << 26}
QINQ = {**DOUBLE, EXVET: 0x88A8_0000}
VME = 1 << 30

UNTAGGED = bytes(ETHER / BODY)
INNER = bytes(ETHER / Dot1Q(vlan=5, prio=3) / BODY)
OUTER = bytes(ETHER / Dot1AD(vlan=9) / BODY)
BOTH = bytes(ETHER / Dot1AD(vlan=9) / Dot1Q(vlan=5, prio=3) / BODY)
SAME_TYPE = bytes(ETHER / Dot1Q(vlan=9) / Dot1Q(vlan=5, prio=3) / BODY)
TCI = 5 | 3 << 13


def through(data: bytes, registers: dict[int | str, int], *, rxdctl: int = 1 << 25) -> list[Received]:
    with Hand() as hand:
        a, b = hand.ports
        for register, value in registers.items():
            hand.set(a, register, value)
        rx, tx = hand.rx_ring(a, rxdctl=rxdctl), hand.tx_ring(b)
        hand.send(tx, [data])
        hand.accounts_close(a)
        return hand.receive(rx)


@pytest.mark.parametrize(
    "data,registers,status,vlan",
    [
        (BOTH, QINQ, VEXT | VP | CHECKED, TCI),
        (SAME_TYPE, DOUBLE, VEXT | VP | CHECKED, TCI),
        (OUTER, QINQ, VEXT | CHECKED, 0),
        (INNER, QINQ, VP | CHECKED, TCI),
        (INNER, DOUBLE, VEXT | CHECKED, 0),  # of two tags of one type the first is the outer one
        (UNTAGGED, QINQ, CHECKED, 0),
        (BOTH, {}, 0, 0),  # not in this mode: an unknown type
        (SAME_TYPE, {}, VP, 9),
    ],
)
def test_what_the_descriptor_tells(data: bytes, registers: dict[int | str, int], status: int, vlan: int) -> None:
    (found,) = through(data, registers)
    assert (found.status, found.vlan, found.data) == (status, vlan, data)


def test_only_the_inner_tag_is_stripped_and_filtered() -> None:
    (found,) = through(BOTH, QINQ, rxdctl=1 << 25 | VME)
    assert (found.data, found.vlan) == (OUTER, TCI)
    (found,) = through(OUTER, QINQ, rxdctl=1 << 25 | VME)
    assert found.data == OUTER
    filtering = {**QINQ, VLNCTRL: 0x8100 | 1 << 30}
    assert not through(BOTH, {**filtering, VFTA: 1 << 9})
    assert through(BOTH, {**filtering, VFTA: 1 << 5})


@pytest.mark.parametrize("dmatxctl,data,expected", [(1 << 3, OUTER, BOTH), (1 << 3, UNTAGGED, INNER), (0, OUTER, None)])
def test_a_tag_is_inserted_behind_the_outer_one(dmatxctl: int, data: bytes, expected: bytes | None) -> None:
    with Hand() as hand:
        a, b = hand.ports
        hand.set(b, "DMATXCTL", 0x81000001 | dmatxctl)
        hand.set(b, EXVET, 0x88A8_0000)
        rx, tx = hand.rx_ring(a), hand.tx_ring(b)
        hand.write(tx.buffers[0], data)
        legacy = PLAIN & ~(1 << 29 | 15 << 20) | RS | VLE | len(data)
        hand.set_desc(tx, 0, IOVA + tx.buffers[0], TCI << 48 | legacy)
        hand.tail(tx, 1)
        hand.run(2)
        (found,) = hand.receive(rx)
        assert found.data == (expected or data[:12] + struct.pack(">HH", 0x8100, TCI) + data[12:])
        assert hand.desc(tx, 0)[1] >> 32 & DD
        hand.accounts_close(b)
