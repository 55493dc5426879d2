"""Traffic that nobody here made: the kernel's own, across namespaces, and capture files, byte for byte."""

import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.all import ARP, DNS, GRE, ICMP, IP, SCTP, TCP, UDP, Dot1AD, Dot1Q, Ether, IPv6, Raw, wrpcap

from tests.testing.hosts import ADDRESSES, Hosts, assert_iperf3_completes
from tests.testing.model_frames import frames_in
from tests.testing.support import (
    Instance,
    assert_exact,
    config_text,
    eventually,
    report_of,
    run,
    start_for_report,
    terminated_for_report,
    write_config,
)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with Hosts(str(os.getpid())) as found:
        yield found


def lost_pings(done: "subprocess.CompletedProcess[str]") -> int:
    """From ping's summary: transmitted minus received."""
    (summary,) = [line for line in done.stdout.splitlines() if "packets transmitted" in line]
    words = summary.split()
    return int(words[0]) - int(words[3])


@pytest.mark.root
@pytest.mark.parametrize("workers", [1, 2])
def test_the_kernels_own_traffic(tmp_path: Path, instance: Instance, hosts: Hosts, workers: int) -> None:
    taps = [f'{{ kind = "tap", interface = "{tap}" }}' for tap in hosts.taps]
    config = write_config(tmp_path / "config.toml", config_text(taps, cpu=f"workers = {workers}"))
    process = instance.start("-c", config, "--json")
    hosts.adopt()
    eventually(lambda: hosts.on(0, "ping", "-c1", "-W1", ADDRESSES[1]).returncode == 0, "the first ping is answered")

    flood = hosts.on(0, "ping", "-f", "-q", "-c", "10000", ADDRESSES[1])
    assert lost_pings(flood) == 0, flood.stdout

    # 9000 bytes: refused when they must not be fragmented, carried in fragments when they may.
    refused = hosts.on(0, "ping", "-c1", "-W1", "-M", "do", "-s", "8972", ADDRESSES[1])
    assert refused.returncode != 0
    assert "too long" in (refused.stdout + refused.stderr).lower()
    fragmented = hosts.on(0, "ping", "-c5", "-i0.01", "-s", "8972", ADDRESSES[1])
    assert lost_pings(fragmented) == 0

    assert_tagged_frames_pass_untouched(hosts, tmp_path)
    assert_iperf3_completes(hosts)
    report = terminated_for_report(process)
    assert report["tx_packets"] > 20_000


SEND = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
    out.bind((sys.argv[1], 0))
    for line in sys.stdin:
        out.send(bytes.fromhex(line))
"""


def assert_tagged_frames_pass_untouched(hosts: Hosts, tmp_path: Path) -> None:
    """802.1Q and 802.1ad, one tag and two, with priorities: what tcpdump sees is what was sent, to the byte."""
    mac = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    body = IP(src="10.98.0.1", dst="10.98.0.2") / UDP(sport=1, dport=2) / Raw(bytes(range(40)))
    sent = [bytes(mac / Dot1Q(vlan=vlan, prio=prio) / body) for vlan, prio in ((1, 0), (100, 7), (4094, 3), (0, 5))] + [
        bytes(mac / Dot1Q(vlan=5) / Dot1Q(vlan=6) / body),
        bytes(mac / Dot1AD(vlan=7) / Dot1Q(vlan=8) / body),
    ]
    seen = tmp_path / "tagged.pcap"
    command = ["ip", "netns", "exec", hosts.names[1], "tcpdump", "-i", hosts.taps[1], "-U", "-w", str(seen)]
    listener = subprocess.Popen(
        [*command, "-c", str(len(sent)), "ether", "src", "02:00:00:00:00:01"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert listener.stderr is not None
        assert "listening" in listener.stderr.readline()
        lines = "\n".join(frame.hex() for frame in sent)
        inside = ("ip", "netns", "exec", hosts.names[0])
        done = run(*inside, sys.executable, "-c", SEND, hosts.taps[0], input=lines)
        assert done.returncode == 0, done.stderr
        listener.wait(15)
    finally:
        listener.terminate()
        listener.communicate()
    assert frames_in(seen) == sent


@pytest.mark.root
def test_a_tap_that_exists_already(tmp_path: Path, instance: Instance) -> None:
    taken = f"itx{os.getpid()}"
    assert run("ip", "tuntap", "add", taken, "mode", "tap").returncode == 0
    try:
        config = write_config(
            tmp_path / "config.toml", config_text([f'{{ kind = "tap", interface = "{taken}" }}', '{ kind = "none" }'])
        )
        failed = instance.command("start", "-c", config)
    finally:
        run("ip", "link", "del", taken)
    assert failed.returncode in (1, 3)
    assert taken in failed.stderr
    assert "Traceback" not in failed.stderr


def frames() -> list[bytes]:
    """Mixed sizes and protocols, 60 to 1514 bytes, tagged and not, IP and not."""
    mac = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    flows = [
        mac / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / Raw(b"u"),
        mac / IP(src="10.0.0.1", dst="10.0.0.3") / TCP(sport=3, dport=4, flags="S"),
        mac / IP(src="10.0.0.1", dst="10.0.0.3", flags="MF") / UDP() / Raw(b"first fragment"),
        mac / IP(src="10.0.0.1", dst="10.0.0.3", frag=100) / Raw(b"later fragment"),
        mac / IPv6(src="2001:db8::1", dst="2001:db8::2") / TCP(sport=5, dport=6),
        mac / IPv6(src="2001:db8::1", dst="2001:db8::3") / UDP(sport=7, dport=8) / DNS(),
        mac / Dot1Q(vlan=5) / IP(src="10.0.0.4", dst="10.0.0.5") / ICMP(),
        mac / Dot1Q(vlan=6) / Dot1Q(vlan=7) / IP(dst="10.0.0.6") / UDP(),
        mac / IP(dst="10.0.0.7") / SCTP(),
        mac / IP(dst="10.0.0.8") / GRE() / IP(dst="10.0.0.9") / UDP(),
        Ether(dst="ff:ff:ff:ff:ff:ff") / ARP(pdst="10.0.0.1"),
        Ether(dst="01:80:c2:00:00:0e", type=0x88CC) / Raw(b"lldp"),
        Ether(dst="33:33:00:00:00:01") / IPv6(dst="ff02::1") / UDP(),
    ]
    found: list[bytes] = []
    for number, size in enumerate([*range(60, 1515, 7), 60, 61, 1513, 1514]):
        frame = bytes(flows[number % len(flows)])
        filler = bytes((number + i) % 256 for i in range(max(0, size - len(frame))))
        found.append((frame + filler)[: max(size, 60)])
    return found


@pytest.mark.parametrize(("engine", "workers"), [("native", 1), ("vector", 1), ("native", 4)])
def test_pcap_in_is_pcap_out(tmp_path: Path, instance: Instance, engine: str, workers: int) -> None:
    sent = frames()
    wrpcap(str(tmp_path / "in.pcap"), [Ether(frame) for frame in sent])
    assert frames_in(tmp_path / "in.pcap") == sent
    config = write_config(
        tmp_path / "config.toml",
        config_text(
            ['{ kind = "pcap", replay = "in.pcap" }', '{ kind = "pcap", capture = "out.pcap" }'],
            cpu=f"workers = {workers}",
            forward=f'engine = "{engine}"\nring_size = 64\nbatch = 16',
        ),
    )
    report = start_for_report("-c", config, "--until-done", instance=instance.name)
    assert report["faults"] == 0
    assert report["rx_packets"] == report["tx_packets"] == len(sent)
    got = frames_in(tmp_path / "out.pcap")
    if workers == 1:
        assert got == sent
    else:  # each flow keeps its order; between flows there is none
        assert Counter(got) == Counter(sent)
    assert (tmp_path / "out.pcap").stat().st_mode & 0o777 == 0o600


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    assert run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)).returncode == 0
    yield disk
    run("umount", str(disk))


@pytest.mark.root
def test_a_full_disk_is_said_and_does_not_stop_the_forwarder(
    tmp_path: Path, instance: Instance, small_disk: Path
) -> None:
    wrpcap(str(tmp_path / "in.pcap"), [Ether(frame) for frame in frames()])
    config = write_config(
        tmp_path / "config.toml",
        config_text(
            ['{ kind = "pcap", replay = "in.pcap" }', '{ kind = "pcap", capture = "disk/out.pcap" }'], cpu="workers = 1"
        ),
    )
    report = start_for_report("-c", config, "--until-done", instance=instance.name, exit_code=1)
    assert report["rx_packets"] == report["tx_packets"] == len(frames())
    wire = report["ports"][1]["wire"]
    said = f"port p1: {small_disk}/out.pcap: cannot write the capture file: No space left on device"
    assert report["error"] == said and wire["error"] in said and said in report["notices"]
    assert wire["capture"]["captured"] + wire["capture"]["lost"] == report["tx_packets"]


def test_a_capture_of_the_model_that_is_removed_is_said(tmp_path: Path, instance: Instance) -> None:
    wires = ['{ kind = "generator", rate = 1000 }', '{ kind = "pcap", capture = "out.pcap" }']
    out = tmp_path / "out.pcap"
    out.write_bytes(b"old")
    out.chmod(0o644)
    config = write_config(tmp_path / "config.toml", config_text(wires, cpu="workers = 1"))
    process = instance.start("-c", config, "--json")
    eventually(lambda: out.stat().st_size > 100, "frames are in the file")
    assert out.stat().st_mode & 0o777 == 0o644
    out.rename(tmp_path / "moved.pcap")
    eventually(lambda: any("was moved" in text for text in instance.status()["notices"]), "the move is told")
    (tmp_path / "moved.pcap").unlink()
    eventually(lambda: any("was removed" in text for text in instance.status()["notices"]), "the removal is told")
    process.send_signal(signal.SIGTERM)
    report = report_of(process.communicate(timeout=30)[0])
    assert process.returncode == report["exit_code"] == 1 and report["error"].startswith(f"port p1: {out} was removed")


def test_a_start_that_fails_leaves_an_old_capture_as_it_was(tmp_path: Path, instance: Instance) -> None:
    (tmp_path / "out.pcap").write_bytes(b"old")
    (tmp_path / "in.pcap").write_bytes(b"no capture")
    wires = ['{ kind = "pcap", capture = "out.pcap" }', '{ kind = "pcap", replay = "in.pcap" }']
    config = write_config(tmp_path / "config.toml", config_text(wires, cpu="workers = 1"))
    assert instance.command("start", "-c", config).returncode == 2
    assert (tmp_path / "out.pcap").read_bytes() == b"old"


def test_a_fifo_is_replayed_and_another_takes_the_capture(tmp_path: Path, instance: Instance) -> None:
    wrpcap(str(tmp_path / "in.pcap"), [Ether(frame) for frame in frames()])
    for name in ("in.fifo", "out.fifo"):
        os.mkfifo(tmp_path / name)
    wires = ['{ kind = "pcap", replay = "in.fifo" }', '{ kind = "pcap", capture = "out.fifo" }']
    config = write_config(tmp_path / "config.toml", config_text(wires, cpu="workers = 1"))
    writer = subprocess.Popen(f"cat {tmp_path}/in.pcap > {tmp_path}/in.fifo", shell=True)
    reader = subprocess.Popen(f"cat {tmp_path}/out.fifo > {tmp_path}/out.pcap", shell=True)
    report = start_for_report("-c", config, "--until-done", instance=instance.name)
    assert writer.wait(10) == reader.wait(10) == 0
    assert report["tx_packets"] == len(frames()) and frames_in(tmp_path / "out.pcap") == frames()


def test_a_capture_file_that_cannot_be_made(tmp_path: Path, instance: Instance) -> None:
    config = write_config(
        tmp_path / "config.toml",
        config_text(['{ kind = "none" }', '{ kind = "pcap", capture = "/dev/full" }'], cpu="workers = 1"),
    )
    failed = instance.command("start", "-c", config)
    assert failed.returncode in (1, 2)
    assert failed.stderr.count("/dev/full") == 1
    assert "No space left" in failed.stderr


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "in.pcap"), (b"", "in.pcap"), (b"no capture file at all, but some text", "in.pcap")],
)
def test_a_bad_capture_file(tmp_path: Path, instance: Instance, content: bytes | None, says: str) -> None:
    if content is not None:
        (tmp_path / "in.pcap").write_bytes(content)
    config = write_config(
        tmp_path / "config.toml", config_text(['{ kind = "pcap", replay = "in.pcap" }', '{ kind = "none" }'])
    )
    failed = instance.command("start", "-c", config)
    assert failed.returncode in (1, 2)
    assert says in failed.stderr
    if content is not None:  # what is not there is found before anything starts
        assert re.search(rf"ixyfwd: the model \(pid \d+\) ended with exit code {failed.returncode}: .+", failed.stderr)
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize(("engine", "rate"), [("native", '"line"'), ("native", "50_000"), ("vector", '"line"')])
def test_nothing_is_lost_while_a_worker_stands_still_if_the_wires_wait(
    tmp_path: Path, instance: Instance, engine: str, rate: str
) -> None:
    """The worker of both directions is stopped until the wires owe frames, then goes on: all that was sent arrives."""
    wire = f'{{ kind = "generator", rate = {rate}, full = "wait" }}'
    text = config_text([wire, wire], cpu="workers = 1", forward=f'engine = "{engine}"')
    process = instance.start("-c", write_config(tmp_path / "c.toml", text), "--json")

    def totals() -> list[dict[str, Any]]:
        return [port["wire"]["totals"] for port in instance.status()["ports"]]

    eventually(lambda: min(one["out"] for one in totals()) > 1000, "frames flow")
    worker = instance.status()["workers"][0]["pid"]
    os.kill(worker, signal.SIGSTOP)
    try:
        stopped = totals()
        eventually(
            lambda: all(
                now["shortfall"] > 1000 + then["shortfall"] for now, then in zip(totals(), stopped, strict=True)
            ),
            "the wires wait",
        )
        waiting = totals()
        # What a ring has room for came in since; nothing goes out.
        assert all(now["in"] - then["in"] <= 512 for now, then in zip(waiting, stopped, strict=True))
    finally:
        os.kill(worker, signal.SIGCONT)
    eventually(lambda: all(a["out"] > b["in"] for a, b in zip(totals(), waiting, strict=True)), "frames flow again")
    report = terminated_for_report(process)
    assert_exact(report)
    assert sum(report["drops"].values()) == report["in_flight"] == report["sink"]["lost"] == 0
    assert report["sink"]["received"] == report["sink"]["sent"]
    assert report["sink"]["shortfall"] > 2000
