"""Frames over several buffers through the whole forwarder: both engines, exact accounts, the kernel's own traffic."""

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from scapy.all import IP, UDP, Dot1AD, Dot1Q, Ether, PcapReader, wrpcap

from ixyfwd.bench.throughput import Trial, TrialPlan, config_for
from ixyfwd.errors import UsageError
from tests.testing.hosts import ADDRESSES, Hosts, assert_iperf3_completes
from tests.testing.support import (
    IXYFWD,
    Instance,
    assert_exact,
    assert_forwarded_sum,
    config_text,
    eventually,
    report_of,
    run,
    start_for_report,
    terminated_for_report,
    worker_pids,
    write_config,
)

ENGINES = ("native", "vector")
NATIVE = ("native", pytest.param("vector", marks=pytest.mark.slow))


def run_config(tmp_path: Path, instance: Instance, *arguments: str, **config: Any) -> dict[str, Any]:
    path = write_config(tmp_path / "config.toml", config_text(**config))
    return start_for_report("-c", path, *arguments, instance=instance.name)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("frame", "forward"),
    [
        ("9018", "max_frame = 9018"),
        ("[64, 1518, 9018]", 'max_frame = 9018\nprogram = "touch"'),
        pytest.param("9728", "max_frame = 9728\nring_size = 64\nbatch = 5", marks=pytest.mark.slow),
        pytest.param("[64, 2044, 2045, 2052, 4100]", "max_frame = 4100\nbatch = 3", marks=pytest.mark.slow),
    ],
)
def test_at_rate_max_nothing_is_lost(tmp_path: Path, instance: Instance, engine: str, frame: str, forward: str) -> None:
    """Also with rings and batches in which few such frames fit."""
    wire = f'{{ kind = "generator", rate = "max", count = 10_000, flows = 50, frame = {frame} }}'
    report = run_config(
        tmp_path,
        instance,
        "--until-done",
        wires=[wire, wire],
        cpu="workers = 2",
        forward=f'engine = "{engine}"\n{forward}',
    )
    assert_exact(report)
    assert report["rx_packets"] == report["tx_packets"] == report["sink"]["received"] == 20_000
    assert sum(report["drops"].values()) == report["in_flight"] == 0
    assert report["sink"]["touched"] == (20_000 if "touch" in forward else 0)


@pytest.mark.parametrize("engine", NATIVE)
def test_what_an_overloaded_worker_drops_is_counted_in_frames(tmp_path: Path, instance: Instance, engine: str) -> None:
    """Line rate into a sleeping worker with the smallest rings."""
    wire = f'{{ kind = "generator", frame = {[*[64] * 15, 9018]} }}'
    report = run_config(
        tmp_path,
        instance,
        "--duration",
        "0.5",
        wires=[wire, wire],
        cpu="workers = 1",
        forward=f'engine = "{engine}"\nmax_frame = 9018\nring_size = 64\nbatch = 8\nidle = "sleep"',
    )
    assert_exact(report)
    assert report["drops"]["rx_no_descriptor"] > 0


@pytest.mark.parametrize("idle", [pytest.param("sleep", marks=pytest.mark.slow), "interrupt"])
def test_a_sleeping_worker_misses_none(tmp_path: Path, instance: Instance, idle: str) -> None:
    wire = '{ kind = "generator", rate = 2000, count = 300, frame = 9018, full = "wait" }'
    report = run_config(
        tmp_path,
        instance,
        "--until-done",
        wires=[wire, wire],
        cpu="workers = 1",
        forward=f'max_frame = 9018\nidle = "{idle}"',
    )
    assert_exact(report)
    assert report["tx_packets"] == 600


def test_a_port_without_a_link_keeps_frames_and_the_sum_closes(tmp_path: Path, instance: Instance) -> None:
    """Frames for it fill its ring and then overflow; both are counted in frames, not in descriptors."""
    wire = '{ kind = "generator", rate = 20_000, frame = [64, 9018] }'
    path = write_config(
        tmp_path / "config.toml", config_text([wire, wire], cpu="workers = 1", forward="max_frame = 9018")
    )
    process = instance.start("-c", path, "--json")
    assert instance.command("inject", "p1", "link-down").returncode == 0
    eventually(lambda: instance.status()["drops"]["tx_full"] > 0, "p1's ring is full")
    instance.command("stop")
    out, _ = process.communicate(timeout=30)
    report = report_of(out)
    assert report["in_flight"] > 0
    assert report["faults"] == 0
    assert_forwarded_sum(report)


@pytest.mark.parametrize("kind", ["stuck-dd", pytest.param("rx-stall", marks=pytest.mark.slow)])
def test_a_port_that_keeps_frames_to_itself_and_the_sum_closes(tmp_path: Path, instance: Instance, kind: str) -> None:
    """Descriptors that the head has passed but nobody wrote back: the device's count says what is in them."""
    wire = '{ kind = "generator", rate = 20_000, frame = [64, 9018] }'
    path = write_config(
        tmp_path / "config.toml", config_text([wire, wire], cpu="workers = 1", forward="max_frame = 9018")
    )
    process = instance.start("-c", path, "--json")
    done = instance.command("inject", "p0", kind, "queue=0")
    assert done.returncode == 0, done.stderr
    before = instance.status()["rx_packets"]
    eventually(lambda: instance.status()["rx_packets"] > before + 1000, "it goes on")
    instance.command("stop")
    out, _ = process.communicate(timeout=30)
    report = report_of(out)
    assert report["faults"] == 0
    assert_forwarded_sum(report)


@pytest.mark.parametrize("engine", NATIVE)
def test_a_killed_worker_leaves_an_account(tmp_path: Path, instance: Instance, engine: str) -> None:
    wire = '{ kind = "generator", frame = [64, 9018] }'
    forward = f'engine = "{engine}"\nmax_frame = 9018'
    path = write_config(tmp_path / "config.toml", config_text([wire, wire], cpu="workers = 2", forward=forward))
    process = instance.start("-c", path, "--json")
    eventually(lambda: instance.status()["tx_packets"] > 10_000, "it forwards")
    os.kill(worker_pids(instance.status())[0], signal.SIGKILL)
    eventually(lambda: instance.status()["workers"][0]["restarts"], "it is started again")
    instance.command("stop")
    out, _ = process.communicate(timeout=30)
    report = report_of(out)
    assert process.returncode == 0
    assert report["faults"] == 0
    assert_forwarded_sum(report)


def tagged(size: int) -> list[bytes]:
    """Frames of `size` bytes without CRC and without their tags: none, one, two, two of 802.1ad, a bad checksum."""
    mac = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    stacks = (
        mac,
        mac / Dot1Q(vlan=5, prio=3),
        mac / Dot1Q(vlan=6) / Dot1Q(vlan=7),
        mac / Dot1AD(vlan=8) / Dot1Q(vlan=9),
    )
    found = []
    for number, stack in enumerate((*stacks, mac)):
        head = bytes(stack / IP(src="10.0.0.1", dst=f"10.0.0.{size % 200}") / UDP(sport=1, dport=number))
        tags = len(bytes(stack)) - 14
        if number == len(stacks):  # a wrong checksum is the receiver's business, not a forwarder's
            head = head[:24] + bytes((head[24] ^ 0xFF,)) + head[25:]
        found.append(head + bytes((size + i) % 256 for i in range(size + tags - len(head))))
    return found


@pytest.mark.parametrize("engine", NATIVE)
@pytest.mark.parametrize("max_frame", [1518, 4096, 9728])
def test_pcap_in_is_pcap_out_with_tags(tmp_path: Path, instance: Instance, engine: str, max_frame: int) -> None:
    """Tags are not stripped, and come on top of max_frame. What is longer is refused and counted by the port, what has
    a wrong checksum passes: neither ends the run."""
    longest = max_frame - 4
    sizes = sorted({60, 61, 1000, 1514, *range(2000, 2100, 7), *range(4080, 4110), longest - 1, longest})
    sent = [frame for size in sizes if size <= longest for frame in tagged(size)]
    too_long = [tagged(longest + 1)[0], tagged(longest + 1)[1], *([tagged(9800)[0]] if max_frame > 1518 else [])]
    wrpcap(str(tmp_path / "in.pcap"), [Ether(frame) for frame in (*too_long, *sent)])
    report = run_config(
        tmp_path,
        instance,
        "--until-done",
        wires=['{ kind = "pcap", replay = "in.pcap" }', '{ kind = "pcap", capture = "out.pcap" }'],
        cpu="workers = 1",
        forward=f'engine = "{engine}"\nmax_frame = {max_frame}\nring_size = 64\nbatch = 16',
    )
    assert report["faults"] == 0
    with PcapReader(str(tmp_path / "out.pcap")) as reader:
        got = [bytes(packet) for packet in reader]
    assert [len(frame) for frame in got] == [len(frame) for frame in sent]
    assert got == sent
    assert report["rx_packets"] == report["tx_packets"] == len(sent)
    port = report["ports"][0]
    assert port["wire"]["replay"]["too_long"] == port["rx_errors"] == port["rx_too_long"] == len(too_long)
    said = (
        f"port p0: the port refuses frames of {tmp_path}/in.pcap that are longer than it takes, the first of "
        f"{len(too_long[0]) + 4} bytes with CRC ([forward] max_frame)"
    )
    assert report["notices"] == [said]


def test_a_text_report_says_why_no_frame_arrived(tmp_path: Path, instance: Instance) -> None:
    """Before, ten frames were sent, none arrived, and every number of the report was 0."""
    wrpcap(str(tmp_path / "in.pcap"), [Ether(tagged(2000)[0])] * 10)
    wires = ['{ kind = "pcap", replay = "in.pcap" }', '{ kind = "none" }']
    config = write_config(tmp_path / "config.toml", config_text(wires, cpu="workers = 1"))
    done = instance.command("start", "-c", config, "--until-done")
    assert done.returncode == 0 and "  refused by ports 10" in done.stdout
    assert "    too long       10 (longer than max_frame in [forward])" in done.stdout
    assert "the port refuses frames of" in done.stdout
    done = run(*IXYFWD, "capture", "sim:p0", "--wire", f"pcap:replay={tmp_path}/in.pcap", "--duration", "1")
    assert "refused by the port: 10, 10 of them longer than 1518 bytes" in done.stdout.splitlines()


def test_the_benchmark_sends_them_too() -> None:
    assert config_for(Trial("native", "python", "xconnect", 64, 512, 9018, 64, 1), "x").forward.max_frame == 9018
    assert config_for(Trial("native", "fused", "xconnect", 64, 512, 64, 64, 1), "x").forward.max_frame == 1518
    plan = TrialPlan(["native", "naive"], ["fused", "python"], ["xconnect"], [4], [512], [64, 9018], 64, [1], 1.0, 1)
    with pytest.raises(UsageError, match="batch 4 cannot hold a frame of 9018 bytes, which fills 5 buffers"):
        plan.trials()
    rows = [(trial.engine, trial.loop, trial.frame) for trial in replace(plan, batches=[64]).trials()]
    expected = [("native", "fused", 64), ("native", "python", 64), ("native", "python", 9018), ("naive", "python", 64)]
    assert rows == expected, "only the bursts of native and vector take frames of several buffers"


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with Hosts(f"j{os.getpid()}") as found:
        yield found


@pytest.mark.root
@pytest.mark.parametrize("engine", NATIVE)
def test_the_kernels_jumbo_frames(tmp_path: Path, instance: Instance, hosts: Hosts, engine: str) -> None:
    """TAPs get their MTU from max_frame: 9,000 bytes pass unfragmented, 9,001 are refused by the kernel."""
    taps = [f'{{ kind = "tap", interface = "{tap}" }}' for tap in hosts.taps]
    forward = f'max_frame = 9018\nengine = "{engine}"'
    config = write_config(tmp_path / "config.toml", config_text(taps, cpu="workers = 1", forward=forward))
    process = instance.start("-c", config, "--json")
    hosts.adopt()
    for host, tap in enumerate(hosts.taps):
        (link,) = json.loads(hosts.on(host, "ip", "-j", "link", "show", tap).stdout)
        assert link["mtu"] == 9000
    ping = ("ping", "-W1", "-M", "do", "-s")
    eventually(lambda: hosts.on(0, *ping, "8972", "-c1", ADDRESSES[1]).returncode == 0, "a jumbo ping is answered")
    for size in ("8972", "2000", "2020", "56"):
        done = hosts.on(1, *ping, size, "-c20", "-i0.01", ADDRESSES[0])
        assert done.returncode == 0 and " 0% packet loss" in done.stdout, done.stdout
    refused = hosts.on(0, *ping, "8973", "-c1", ADDRESSES[1])
    assert refused.returncode != 0 and "too long" in (refused.stdout + refused.stderr).lower()
    assert_iperf3_completes(hosts)
    report = terminated_for_report(process)
    assert report["ports"][0]["rx_bytes"] / report["ports"][0]["rx_packets"] > 1514
