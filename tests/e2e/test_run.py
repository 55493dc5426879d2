"""The whole forwarder, for real: processes, shared memory, the model, traffic. Every frame is accounted for."""

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import pytest
from scapy.all import Ether, PcapReader, Raw, wrpcap

from ixyfwd.traffic.flows import end_points
from tests.testing.support import (
    Instance,
    assert_exact,
    assert_forwarded_sum,
    assert_lean,
    config_text,
    eventually,
    report_of,
    start_for_report,
    write_config,
)

GENERATOR = '{ kind = "generator" }'


def run_config(tmp_path: Path, instance: Instance, *arguments: str, **config: Any) -> dict[str, Any]:
    config.setdefault("wires", [GENERATOR, GENERATOR])
    path = write_config(tmp_path / "config.toml", config_text(**config))
    return start_for_report("-c", path, *arguments, instance=instance.name)


def assert_flows_kept_their_worker(report: dict[str, Any]) -> None:
    """Every flow was handled by one worker, the same in both directions."""
    flows = report["flows"]
    assert flows["seen"] > 0
    assert flows["on_several_queues"] == 0, flows


def test_without_a_config(instance: Instance) -> None:
    report = start_for_report("--duration", "1", instance=instance.name)
    assert_exact(report)
    assert_flows_kept_their_worker(report)
    assert report["device"] == "model"
    assert report["engine"] == "native"
    assert report["tx_packets"] > 0
    assert report["in_flight"] == 0
    for worker in report["workers"]:
        assert worker["rx_packets"] > 0
        assert worker["cpu"] is not None
        assert worker["busy_ns_per_packet"] > 0
    for port in report["ports"]:
        assert port["link"] == {"up": True, "speed_mbps": 10_000, "reason": ""}
        assert port["wire"]["generator"]["sent"] > 0


@pytest.mark.parametrize("workers", [1, 2, 4, 16])
@pytest.mark.parametrize("engine", ["native", "vector"])
def test_workers_share_the_flows(tmp_path: Path, instance: Instance, engine: str, workers: int) -> None:
    """More workers than cores included: slower, never wrong."""
    report = run_config(
        tmp_path, instance, "--duration", "1", cpu=f"workers = {workers}", forward=f'engine = "{engine}"'
    )
    assert_exact(report)
    assert_flows_kept_their_worker(report)
    assert report["engine"] == engine
    assert len(report["workers"]) == workers
    assert all(worker["rx_packets"] > 0 for worker in report["workers"])
    assert_lean(report)


@pytest.mark.parametrize("engine", ["native", "vector"])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_counted_run_loses_nothing(tmp_path: Path, instance: Instance, engine: str, workers: int) -> None:
    """At rate "max" the wire waits for room: every frame that was sent arrives, in both directions."""
    wire = '{ kind = "generator", rate = "max", count = 100_000, flows = 100, frame = "imix" }'
    report = run_config(
        tmp_path,
        instance,
        "--until-done",
        wires=[wire, wire],
        cpu=f"workers = {workers}",
        forward=f'engine = "{engine}"\nbatch = 32\nring_size = 256',
    )
    assert_exact(report)
    assert report["rx_packets"] == report["tx_packets"] == 200_000
    assert report["sink"]["received"] == report["sink"]["sent"] == 200_000
    assert sum(report["drops"].values()) == 0
    assert report["reason"] == "all wires done"


@pytest.mark.parametrize("engine", ["native", "vector"])
def test_touch_changes_one_byte_of_every_frame(tmp_path: Path, instance: Instance, engine: str) -> None:
    wire = '{ kind = "generator", rate = "max", count = 50_000 }'
    report = run_config(
        tmp_path,
        instance,
        "--until-done",
        wires=[wire, wire],
        forward=f'engine = "{engine}"\nprogram = "touch"',
    )
    assert_exact(report)
    assert report["sink"]["touched"] == report["sink"]["received"] == 100_000


def test_xconnect_touches_nothing(tmp_path: Path, instance: Instance) -> None:
    wire = '{ kind = "generator", rate = "max", count = 50_000 }'
    report = run_config(tmp_path, instance, "--until-done", wires=[wire, wire])
    assert_exact(report)
    assert report["sink"]["touched"] == 0


@pytest.mark.parametrize("idle", ["spin", "adaptive", "sleep"])
def test_idle_policies_forward_a_trickle(tmp_path: Path, instance: Instance, idle: str) -> None:
    wire = '{ kind = "generator", rate = 2000, count = 500, full = "wait" }'
    report = run_config(
        tmp_path, instance, "--until-done", wires=[wire, wire], cpu="workers = 1", forward=f'idle = "{idle}"'
    )
    assert_exact(report)
    assert report["tx_packets"] == 1000
    assert 0 < report["workers"][0]["empty_poll_share"] <= 1


def test_an_overloaded_worker_drops_and_says_so(tmp_path: Path, instance: Instance) -> None:
    """Line rate into sleeping workers with the smallest rings: many drops, all of them counted."""
    report = run_config(
        tmp_path,
        instance,
        "--duration",
        "1",
        cpu="workers = 8",
        forward='engine = "vector"\nring_size = 64\nbatch = 8\nidle = "sleep"',
    )
    assert_exact(report)
    assert report["drops"]["rx_no_descriptor"] > 0


@pytest.mark.parametrize(
    ("mac", "own"), [("", "02:69:78:79:00:00"), ('mac = "02:AB:00:00:00:0F"\n', "02:ab:00:00:00:0f")]
)
def test_mac_filters_without_promiscuous_mode(tmp_path: Path, instance: Instance, mac: str, own: str) -> None:
    """Only broadcast, the port's own address and the listed ones pass; the rest is not received, hence not lost."""
    wanted = [own, "02:aa:00:00:00:01", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:05"]
    others = ["02:69:78:79:00:01", "02:aa:00:00:00:02", "01:00:5e:00:00:06", "33:33:00:00:00:01"]
    frames = [Ether(dst=dst, src="02:00:00:00:00:09") / Raw(bytes(60)) for dst in [*wanted, *others] * 10]
    wrpcap(str(tmp_path / "in.pcap"), frames)
    path = write_config(
        tmp_path / "config.toml",
        f'[[port]]\nname = "p0"\ndevice = "sim:p0"\npromiscuous = false\n{mac}'
        'mac_filters = ["02:aa:00:00:00:01", "01:00:5e:00:00:05"]\nwire = { kind = "pcap", replay = "in.pcap" }\n'
        '[[port]]\nname = "p1"\ndevice = "sim:p1"\nwire = { kind = "pcap", capture = "out.pcap" }\n'
        '[[link]]\nports = ["p0", "p1"]\n[cpu]\nworkers = 1\n',
    )
    report = start_for_report("-c", path, "--until-done", instance=instance.name)
    assert report["faults"] == 0
    assert report["rx_packets"] == report["tx_packets"] == 10 * len(wanted)
    with PcapReader(str(tmp_path / "out.pcap")) as reader:
        assert {packet[Ether].dst for packet in reader} == set(wanted)
    assert report["ports"][0]["mac"] == own


def test_cable_and_two_links(tmp_path: Path, instance: Instance) -> None:
    """Four ports: a generator's frames cross link one, a cable, link two, and come back the same way."""
    wires = {
        "a": '{ kind = "generator", rate = 20_000, count = 4_000, full = "wait" }',
        "b": '{ kind = "cable", to = "c" }',
        "c": '{ kind = "cable", to = "b" }',
        "d": '{ kind = "generator", rate = 20_000, count = 4_000, full = "wait" }',
    }
    ports = "".join(f'[[port]]\nname = "{n}"\ndevice = "sim:{n}"\nwire = {w}\n' for n, w in wires.items())
    path = write_config(
        tmp_path / "config.toml",
        # Rings that hold a fifth of a second of these frames: a cable waits for nobody.
        f'{ports}[[link]]\nports = ["a", "b"]\n[[link]]\nports = ["c", "d"]\n[cpu]\nworkers = 2\n'
        "[forward]\nring_size = 4096\n",
    )
    report = start_for_report("-c", path, "--until-done", instance=instance.name)
    assert report["faults"] == 0
    assert_forwarded_sum(report)
    assert report["sink"]["received"] == 8_000
    assert report["tx_packets"] == 16_000
    for trouble in ("lost", "reordered", "duplicated", "corrupted"):
        assert report["sink"][trouble] == 0


def test_rss_of_a_running_instance(tmp_path: Path, instance: Instance) -> None:
    """The workers that take the generators' only flow, one for each direction, are those predicted for this run."""
    wire = '{ kind = "generator", flows = 1, rate = 1_000 }'
    text = config_text([wire, wire], cpu="workers = 3\nshare = true", more='[rss]\nkey = "microsoft"')
    instance.start("-c", write_config(tmp_path / "c.toml", text.replace("wire =", 'device_id = "1563"\nwire =')))
    a, b, port_a, port_b = end_points(0)
    flow = f"udp {ip_address(a)}:{port_a} {ip_address(b)}:{port_b}"
    done = instance.command("rss", flow, "--json")
    assert done.returncode == 0, done.stderr
    found = report_of(done.stdout)
    assert (found["queues"], found["key"], found["reta_entries"]) == (3, "microsoft", 512)
    expected = {found["flows"][0]["queue"], found["flows"][0]["reverse_queue"]}
    eventually(lambda: all(port["rx_packets"] > 10 for port in instance.status()["ports"]), "both directions flow")
    assert {worker["index"] for worker in instance.status()["workers"] if worker["rx_packets"]} == expected


@pytest.mark.parametrize("workers", [4, pytest.param(16, marks=pytest.mark.slow)])
def test_the_model_plays_an_x550(tmp_path: Path, instance: Instance, workers: int) -> None:
    """Its redirection table has 512 entries: all of it is in use, and flows keep their worker."""
    wire = '{ kind = "generator", flows = 256, rate = 50_000 }'
    text = config_text([wire, wire], cpu=f"workers = {workers}\nshare = true")
    path = write_config(tmp_path / "c.toml", text.replace("wire =", "device_id = 0x1563\nwire ="))
    report = start_for_report("-c", path, "--duration", "1", instance=instance.name)
    assert_exact(report)
    assert_flows_kept_their_worker(report)
    assert [(port["chip"], port["reta_entries"]) for port in report["ports"]] == [("X550-T2", 512)] * 2
    assert all(worker["rx_packets"] for worker in report["workers"]) and len(report["workers"]) == workers


@pytest.mark.slow
def test_bursts_of_all_lengths_do_not_fill_the_memory(tmp_path: Path, instance: Instance) -> None:
    """The vector engine keeps views of bursts; how many is limited."""
    wires = ['{ kind = "generator", frame = "imix", rate = 400_000 }', '{ kind = "generator", rate = 1_100_000 }']
    forward = 'engine = "vector"\nbatch = 256\nprogram = "touch"'
    report = run_config(tmp_path, instance, "--duration", "3", wires=wires, cpu="workers = 1", forward=forward)
    assert_exact(report)
    assert_lean(report)


def test_workers_and_the_model_have_the_nice_value(tmp_path: Path, instance: Instance) -> None:
    wire = '{ kind = "generator", rate = 1000 }'
    path = write_config(tmp_path / "c.toml", config_text([wire, wire], cpu="nice = 7"))
    supervisor = psutil.Process(instance.start("-c", path).pid)
    polling = supervisor.children()
    assert len(polling) == len(instance.status()["workers"]) + 1, "the workers and the model"
    assert {process.nice() for process in polling} == {7}
    assert supervisor.nice() == psutil.Process().nice()
    assert instance.command("stop").returncode == 0
