"""The TAP wire and the cable: the kernel's frames, and the other port's."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from ixyfwd.errors import IxyfwdError, RefusedError, UsageError
from ixyfwd.model.datapath.binding import Datapath
from ixyfwd.model.wires import tap
from ixyfwd.model.wires.cable import CableWire
from ixyfwd.model.wires.none import NoWire
from ixyfwd.model.wires.tap import TapWire
from tests.testing.model_frames import frame
from tests.testing.model_hand import Hand
from tests.testing.support import Instance, config_text, eventually, write_config

NAME = f"ixt{os.getpid() % 10**6}"
ETH_P_ALL = 3


def up(name: str = NAME) -> None:
    with open(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "w") as file:  # the kernel keeps quiet by itself
        file.write("1")
    subprocess.run(["ip", "link", "set", name, "up"], check=True)


def exists(name: str = NAME) -> bool:
    return os.path.exists(f"/sys/class/net/{name}")


class Tap(Hand):
    """Port a with a TAP and both rings; `kernel` is a raw socket on the interface."""

    def __init__(self, entries: int = 64) -> None:
        super().__init__(cable=False)
        self.a = self.ports[0]
        self.a.plug(TapWire(NAME))
        up()
        self.kernel = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.kernel.bind((NAME, ETH_P_ALL))
        self.kernel.settimeout(2)
        self.rx, self.tx = self.rx_ring(self.a, entries=entries), self.tx_ring(self.a)
        self.a.start_feed()

    def __exit__(self, *error: object) -> None:
        self.kernel.close()
        super().__exit__(*error)  # type: ignore[arg-type]

    def collect(self, count: int, seconds: float = 2) -> list[bytes]:
        got: list[bytes] = []
        end = time.monotonic() + seconds
        while len(got) < count and time.monotonic() < end:
            self.run()
            got += [one.data for one in self.receive(self.rx)]
        return got


@pytest.mark.root
def test_frames_pass_both_ways() -> None:
    with Tap() as bench:
        sent = [frame(n, size) for n, size in enumerate((60, 61, 200, 1514))]
        for data in sent:
            bench.kernel.send(data)
        assert bench.collect(4) == sent
        bench.send(bench.tx, sent)
        assert [bench.kernel.recv(2000) for _ in sent] == sent
        stats = bench.a.wire_stats()
        assert stats == {
            "kind": "tap",
            "totals": {"in": 4, "out": 4, "shortfall": 0},
            "error": None,
            "notices": [],
            "interface": NAME,
            "received": 4,
            "received_bytes": sum(map(len, sent)),
            "sent": 4,
            "sent_bytes": sum(map(len, sent)),
            "send_errors": 0,
            "interface_down": 0,
        }
        assert not bench.fault_kinds(bench.a) and not bench.a.feed_done()
        bench.accounts_close(bench.a)


@pytest.mark.root
def test_a_full_ring_leaves_frames_with_the_kernel() -> None:
    with Tap(entries=16) as bench:
        sent = [frame(n) for n in range(200)]
        for data in sent:
            bench.kernel.send(data)
        bench.run(50)
        assert bench.a.stats.tpr == 15
        assert bench.collect(200) == sent
        assert sum(bench.a.stats.qprdc) + sum(bench.a.stats.rxmpc) == 0


@pytest.mark.root
@pytest.mark.parametrize("off", ["feed", "link"])
def test_nothing_is_read_while_off(off: str) -> None:
    with Tap() as bench:
        bench.a.stop_feed() if off == "feed" else bench.a.set_link(False)
        bench.kernel.send(frame(0))
        bench.run(20)
        assert bench.a.stats.tpr == 0
        bench.a.start_feed() if off == "feed" else bench.a.set_link(True)
        assert bench.collect(1) == [frame(0)]


@pytest.mark.root
def test_an_interface_that_is_down_is_counted() -> None:
    with Tap() as bench:
        subprocess.run(["ip", "link", "set", NAME, "down"], check=True)
        bench.send(bench.tx, [frame(n) for n in range(3)])
        stats = bench.a.wire_stats()
        assert stats["interface_down"] == 3 and stats["sent"] == 0
        assert (
            stats["notices"] == [f"the interface {NAME} was down when frames came for it: ip link set {NAME} up"]
            and not bench.a.wire_gone
        )
        assert bench.a.stats.gptc == 3


@pytest.mark.root
def test_an_idle_model_that_shares_its_cpu_wakes_for_a_frame() -> None:
    """It sleeps when nothing moves, and a frame of the kernel ends the sleep."""
    with Tap() as bench:
        begun, used = time.monotonic_ns(), time.process_time_ns()
        bench.datapath.run(-1, 50_000_000, True)
        used = time.process_time_ns() - used
        assert 2 * used < time.monotonic_ns() - begun
        bench.kernel.send(frame(0))
        bench.datapath.run(-1, 3_000_000, True)
        assert bench.receive(bench.rx)[0].data == frame(0)


def lose(how: str) -> None:
    """The interface is deleted, or goes with its namespace."""
    if how == "deleted":
        subprocess.run(["ip", "link", "del", NAME], check=True)
        return
    for command in (["netns", "add", NAME], ["link", "set", NAME, "netns", NAME], ["netns", "del", NAME]):
        subprocess.run(["ip", *command], check=True)


@pytest.mark.root
@pytest.mark.parametrize("how", ["deleted", "namespace"])
@pytest.mark.parametrize("found_by", ["receiving", "sending"])
def test_an_interface_that_is_lost_is_found_so(how: str, found_by: str) -> None:
    """Before, every look at it failed with EBADFD, and a loop that shares its CPU never slept."""
    with Tap() as bench:
        if found_by == "sending":
            bench.a.stop_feed()
        lose(how)
        end = time.monotonic() + 10
        while not bench.a.wire_gone and time.monotonic() < end:  # a namespace goes in its own time
            bench.run(100)
            if found_by == "sending":
                bench.send(bench.tx, [frame(1)])
        assert bench.a.wire_gone and f"the interface {NAME} is gone" in bench.a.wire_stats()["notices"][0]
        bench.a.start_feed()
        used = time.process_time_ns()
        bench.datapath.run(-1, 50_000_000, True)
        assert time.process_time_ns() - used < 25_000_000
        before = bench.a.wire_stats()
        bench.send(bench.tx, [frame(n) for n in range(5)])
        after = bench.a.wire_stats()
        assert after["send_errors"] == before["send_errors"] + 5 and after["sent"] == before["sent"]
        bench.accounts_close(bench.a)


@pytest.mark.root
def test_a_port_whose_tap_is_lost_has_no_link_and_gets_none(tmp_path: Path, instance: Instance) -> None:
    wires = [f'{{ kind = "tap", interface = "{NAME}" }}', '{ kind = "none" }']
    config = write_config(tmp_path / "config.toml", config_text(wires, cpu="workers = 1"))
    process = instance.start("-c", config, "--json")
    assert instance.status()["ports"][0]["link"]["up"]
    lose("deleted")
    eventually(lambda: not instance.status()["ports"][0]["link"]["up"], "the link is down")
    notices = eventually(lambda: instance.status()["notices"], "it is told")
    assert any(text.startswith(f"port p0: the interface {NAME} is gone") for text in notices)
    assert instance.status()["ports"][1]["link"]["up"]
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0 and "note: port p0: link down" in err and err.count("is gone") == 1


@pytest.mark.root
def test_the_interface_goes_with_the_data_path() -> None:
    with Tap():
        assert exists()
    assert not exists()


@pytest.mark.root
def test_a_name_in_use_is_refused() -> None:
    with Tap(), Hand(("x", "y"), cable=False) as other:
        for name in (NAME, "lo"):
            with pytest.raises(RefusedError, match=f"TAP interface {name}: this interface exists already"):
                other.ports[0].plug(TapWire(name))
    assert not exists()


@pytest.mark.parametrize("name", ["", "sixteen-bytes-xx", "a/b", "a b", "a%d", "a:b"])
def test_impossible_names(name: str) -> None:
    with pytest.raises(UsageError, match="expected a name of 1 to 15 bytes"):
        tap.open_tap(name)


@pytest.mark.root
@pytest.mark.parametrize("mtu", [1500, 9000, 9710])
def test_the_mtu(mtu: int) -> None:
    fd = tap.open_tap(NAME, mtu)
    try:
        with open(f"/sys/class/net/{NAME}/mtu") as file:
            assert int(file.read()) == mtu
    finally:
        os.close(fd)
    assert not exists()


@pytest.mark.root
def test_an_mtu_that_the_kernel_refuses_leaves_no_interface() -> None:
    with pytest.raises(IxyfwdError, match=f"TAP interface {NAME}: the kernel does not take an MTU of 70000"):
        tap.open_tap(NAME, 70000)
    assert not exists()


def test_no_permission_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("ixyfwd.model.wires.tap.fcntl.ioctl", refuse)
    if not os.path.exists("/dev/net/tun") or not os.access("/dev/net/tun", os.W_OK):
        monkeypatch.setattr("ixyfwd.model.wires.tap.os.open", refuse)
    with pytest.raises(IxyfwdError, match=f"TAP interface {NAME}: no permission to make one; run as root"):
        tap.open_tap(NAME)


def test_no_tun_driver_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tap, "TUN_DEVICE", "/dev/nothing-here")
    with pytest.raises(IxyfwdError, match="load the kernel's tun module"):
        tap.open_tap(NAME)


# cable and nothing


def test_a_cable_joins_two_ports_both_ways() -> None:
    with Hand() as hand:
        a, b = hand.ports
        rx = [hand.rx_ring(port) for port in (a, b)]
        tx = [hand.tx_ring(port) for port in (a, b)]
        hand.send(tx[0], [frame(1), frame(2)])
        hand.send(tx[1], [frame(3)])
        assert [one.data for one in hand.receive(rx[1])] == [frame(1), frame(2)]
        assert [one.data for one in hand.receive(rx[0])] == [frame(3)]
        assert a.wire_stats() == {
            "kind": "cable",
            "totals": {"in": 1, "out": 2, "shortfall": 0},
            "error": None,
            "notices": [],
            "sent": 2,
            "sent_bytes": 128,
            "received": 1,
            "received_bytes": 64,
        }
        assert a.feed_done()


def test_cables_must_lead_to_each_other() -> None:
    with Hand(("a", "b", "c"), cable=False) as hand:
        a, b, c = hand.ports
        for to in ("a", "z"):
            with pytest.raises(UsageError, match=f"port a: the cable leads to '{to}'; expected another port"):
                a.plug(CableWire(to))
        a.plug(CableWire("b"))
        with pytest.raises(UsageError, match="port c: the cable leads to a, but the cable there leads to b"):
            c.plug(CableWire("a"))
        b.plug(CableWire("a"))


def test_nothing_plugged_in_swallows_and_counts() -> None:
    with Hand(cable=False) as hand:
        a = hand.ports[0]
        a.plug(NoWire())
        hand.send(hand.tx_ring(a), [frame(n) for n in range(4)])
        totals = {"in": 0, "out": 4, "shortfall": 0}
        told: dict[str, object] = {"error": None, "notices": []}
        assert a.wire_stats() == {"kind": "none", "totals": totals, **told, "sent": 4, "sent_bytes": 256}
        assert a.stats.gptc == 4 and a.feed_done()


def test_ports_are_named_once() -> None:
    for names in (["a", "a"], [], [str(n) for n in range(33)]):
        with pytest.raises(UsageError, match="expected 1 to 32 different names"):
            Datapath(names)
