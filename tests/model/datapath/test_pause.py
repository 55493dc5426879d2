"""Pause frames that come as frames, from a wire or from a driver at the far end of a cable (IEEE 802.3 annex 31B)."""

import time
from pathlib import Path

import pytest
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from ixyfwd.model.datapath.binding import DatapathPort
from tests.testing.model_frames import frame, frames_in
from tests.testing.model_hand import Hand
from tests.testing.support import (
    Instance,
    assert_forwarded_sum,
    config_text,
    start_for_report,
    write_config,
)

MFLCN, RAL0, RAH0, FCTRL = 0x4294, 0xA200, 0xA204, 0x5080
PMCF, DPF, RFCE = 1, 2, 8
STATION = bytes.fromhex("020000000005")
RESERVED = bytes.fromhex("0180c2000001")
FOREVER = 0xFFFF  # 3.4 ms


def control(quanta: int, to: bytes = RESERVED, opcode: int = 1) -> bytes:
    head = to + bytes.fromhex("020000000009") + b"\x88\x08" + opcode.to_bytes(2, "big")
    return (head + quanta.to_bytes(2, "big")).ljust(60, b"\0")


def set_up(hand: Hand, port: DatapathPort, mflcn: int) -> None:
    hand.set(port, RAL0, int.from_bytes(STATION[:4], "little"))
    hand.set(port, RAH0, int.from_bytes(STATION[4:], "little") | 1 << 31)
    hand.set(port, MFLCN, mflcn)


@pytest.mark.parametrize("to", [RESERVED, STATION])
@pytest.mark.parametrize("promiscuous", [False, True])
def test_a_port_that_heeds_pauses_sends_nothing_until_the_xon(to: bytes, promiscuous: bool) -> None:
    with Hand() as hand:
        a, b = hand.ports
        set_up(hand, a, RFCE | DPF)
        if not promiscuous:
            hand.set(a, FCTRL, 0)
        rx, tx = hand.rx_ring(a), hand.tx_ring(a)
        far_rx, far_tx = hand.rx_ring(b), hand.tx_ring(b)
        begun = time.monotonic_ns()
        hand.send(far_tx, [control(FOREVER, to)], rounds=1)
        hand.send(tx, [frame(1)], rounds=1)
        early = [one.data for one in hand.receive(far_rx)]
        assert not early or time.monotonic_ns() - begun > 3_000_000, "the pause is over on a slow machine only"
        hand.send(far_tx, [control(0, to)], rounds=2)
        hand.run(2)
        assert early + [one.data for one in hand.receive(far_rx)] == [frame(1)]
        assert not hand.receive(rx), "none of them is for the host"
        assert (a.stats.lxoffrxcnt, a.stats.lxonrxcnt, a.stats.rx_mac_control, a.stats.tpr) == (1, 1, 2, 2)
        assert a.stats.gprc == 0
        hand.accounts_close(a)
        assert not hand.fault_kinds(a)


def test_a_pause_ends_with_its_time() -> None:
    with Hand() as hand:
        a, b = hand.ports
        set_up(hand, a, RFCE | DPF)
        tx, far_rx, far_tx = hand.tx_ring(a), hand.rx_ring(b), hand.tx_ring(b)
        hand.rx_ring(a)
        hand.send(far_tx, [control(1000)], rounds=1)  # 51.2 us
        begun = time.monotonic_ns()
        hand.send(tx, [frame(1)], rounds=1)
        got: list[bytes] = []
        while not got:
            hand.run()
            got += [one.data for one in hand.receive(far_rx)]
        assert got == [frame(1)] and time.monotonic_ns() - begun < 10**10
        assert a.stats.lxoffrxcnt == 1 and a.stats.lxonrxcnt == 0


@pytest.mark.parametrize(
    "mflcn,data,delivered,pauses",
    [
        (0, control(5), True, 0),  # not heeded: a frame like any other
        (DPF, control(5), True, 0),  # DPF alone has no effect
        (RFCE, control(5), True, 1),  # heeded, and for the host
        (RFCE | DPF, control(5), False, 1),
        (RFCE | DPF, control(5, to=bytes.fromhex("020000000077")), True, 0),  # another station's
        (RFCE | DPF, control(5, opcode=2), False, 0),  # an opcode that the MAC does not know
        (RFCE | DPF | PMCF, control(5, opcode=2), True, 0),
        (RFCE | DPF, RESERVED + bytes(6) + b"\x81\x00\x00\x05\x88\x08\x00\x01\x00\x05".ljust(48, b"\0"), True, 0),
    ],
)
def test_which_frames_pause_and_which_are_the_hosts(mflcn: int, data: bytes, delivered: bool, pauses: int) -> None:
    with Hand() as hand:
        a, b = hand.ports
        set_up(hand, a, mflcn)
        rx, far = hand.rx_ring(a), hand.tx_ring(b)
        hand.send(far, [data])
        assert [one.data for one in hand.receive(rx)] == ([data] if delivered else [])
        assert a.stats.lxoffrxcnt == pauses and a.stats.rx_mac_control == (not delivered)
        hand.accounts_close(a)


@pytest.mark.parametrize("how", ["reset", "link"])
def test_a_reset_and_a_lost_link_end_a_pause(how: str) -> None:
    with Hand() as hand:
        a, b = hand.ports
        set_up(hand, a, RFCE | DPF)
        hand.rx_ring(a)
        far_rx, far_tx = hand.rx_ring(b), hand.tx_ring(b)
        hand.send(far_tx, [control(FOREVER)] * 3, rounds=1)
        if how == "reset":
            a.reset()
        else:
            a.set_link(False)
            a.set_link(True)
        hand.run(1)
        hand.send(hand.tx_ring(a), [frame(1)], rounds=1)
        assert [one.data for one in hand.receive(far_rx)] == [frame(1)]


@pytest.mark.parametrize("mode", ["off", "rx", "full"])
def test_replayed_pause_frames_are_heeded_counted_and_not_forwarded(
    tmp_path: Path, instance: Instance, mode: str
) -> None:
    frames = [control(n % 3 * 10) if n % 4 == 0 else frame(n) for n in range(200)]
    wrpcap(str(tmp_path / "in.pcap"), [Ether(data) for data in frames])
    wires = ['{ kind = "pcap", replay = "in.pcap" }', '{ kind = "pcap", capture = "out.pcap" }']
    text = config_text(wires, cpu="workers = 1").replace("[[port]]", f'[[port]]\nflow_control = "{mode}"')
    config = write_config(tmp_path / "config.toml", text)
    report = start_for_report("-c", config, "--until-done", instance=instance.name)
    assert_forwarded_sum(report)
    expected = frames if mode == "off" else [data for n, data in enumerate(frames) if n % 4]
    assert frames_in(tmp_path / "out.pcap") == expected and report["rx_packets"] == len(expected)
    control_row = report["ports"][0]["flow_control"]
    xon = sum(n % 12 == 0 for n in range(200))
    found = (control_row["xon_received"], control_row["xoff_received"])
    assert found == ((0, 0) if mode == "off" else (xon, 50 - xon))
