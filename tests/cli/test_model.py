"""`ixyfwd model`: the stand-alone model as a process, driven by a forwarder in processes of its own."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ixyfwd.cli.model import model_line, model_summary, traffic
from ixyfwd.config.standalone import StandaloneOptions, standalone_spec
from ixyfwd.config.wires import wire_data
from ixyfwd.errors import UsageError
from ixyfwd.model.client import ModelClient
from ixyfwd.model.wires.cable import CableWire
from ixyfwd.model.wires.contract import Wire
from ixyfwd.model.wires.generator import GeneratorWire
from ixyfwd.model.wires.pcap import PcapWire
from ixyfwd.model.wires.tap import TapWire
from ixyfwd.pci.open import open_function
from ixyfwd.telemetry.model_report import ModelReport
from ixyfwd.telemetry.plain import from_plain
from ixyfwd.traffic.schedule import IMIX
from tests.testing.model_command import SLOW, Model, StartModel, forwarder_config, model_commands, ports
from tests.testing.support import (
    IXYFWD,
    Instance,
    assert_exact,
    descendants,
    eventually,
    last_object,
    report_of,
    run,
)

MTQC = 0x8120


@pytest.fixture
def start(folder: Path) -> Iterator[StartModel]:
    with model_commands(folder) as found:
        yield found


def assert_clean(model: Model) -> dict[str, Any]:
    code, report, err = model.end()
    assert report["faults"] == 0, report["recent_faults"]
    assert report["error"] is None
    assert code == 0, err
    assert not list(model.folder.glob("*.sock*"))
    return report


# With our own forwarder


def test_wires_that_are_held_wait_for_their_start(start: StartModel, folder: Path, instance: Instance) -> None:
    """A driver that begins to receive makes a wire feed, but not one that was told to stop."""
    model = start("--mmap", wires=("generator:rate=max,flows=4", "generator:rate=max,flows=4"))
    model.stats()
    assert model.control is not None
    model.control.stop()
    instance.start("-c", forwarder_config(folder, model), "--json")
    eventually(lambda: instance.running() is not None, "the ports receive")
    assert model.sent() == [0, 0]
    model.control.start()
    eventually(lambda: min(model.sent()) > 100, "frames flow")
    assert instance.command("stop").returncode == 0
    assert_clean(model)


def test_ports_without_a_module_say_so(start: StartModel, folder: Path, instance: Instance) -> None:
    model = start("--mmap", "--no-module", wires=("none", "none"))
    config = Path(forwarder_config(folder, model))
    config.write_text(config.read_text() + "[start]\nlink_timeout_s = 0.2\n")
    instance.start("-c", str(config), "--json")
    eventually(lambda: instance.running() is not None, "it runs without links")
    status = instance.status()
    empty = {"up": False, "speed_mbps": 0, "reason": "no SFP+ module in the cage"}
    assert [port["link"] for port in status["ports"]] == [empty, empty]
    assert "port x has no link after 0.2 s (no SFP+ module in the cage)" in status["notices"][0]
    assert "no module" in instance.command("ports").stdout
    assert instance.command("stop").returncode == 0
    assert_clean(model)


def test_a_forwarder_on_it_killed_and_started_again(start: StartModel, folder: Path, instance: Instance) -> None:
    model = start("--mmap", wires=("generator:rate=max,flows=16", "generator:rate=max,flows=16,frame=imix"))
    config = forwarder_config(folder, model)
    first = instance.start("-c", config)
    pids = [child.pid for child in descendants(first.pid)]
    assert pids
    before = model.sent()
    eventually(lambda: all(now > was for now, was in zip(model.sent(), before, strict=True)), "frames flow")
    first.kill()
    first.wait()
    eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids), "its workers died with it")
    eventually(lambda: not any(port["connected"] for port in model.stats()["ports"]), "the model noticed")
    held = model.sent()
    time.sleep(0.2)
    assert model.sent() == held  # nobody receives: nothing is fed
    second = instance.start("-c", config, "--json")
    eventually(lambda: all(now > was for now, was in zip(model.sent(), held, strict=True)), "frames flow again")
    second.send_signal(signal.SIGTERM)
    out, err = second.communicate(timeout=30)
    assert second.returncode == 0, err
    report = report_of(out)
    assert report["tx_packets"] > 0
    assert_exact(report)
    model_report = assert_clean(model)
    for port in model_report["ports"]:
        sink = port["wire"]["sink"]
        assert sink["received"] > 0
        assert (sink["corrupted"], sink["duplicated"], sink["foreign"]) == (0, 0, 0)


def test_wires_wait_for_a_receiver_and_all_of_it_arrives(start: StartModel, folder: Path, instance: Instance) -> None:
    wire = "generator:rate=20000,count=1000,full=wait"
    model = start("--mmap", wires=(wire, wire))
    time.sleep(0.3)
    assert model.sent() == [0, 0]
    forwarder = instance.start("-c", forwarder_config(folder, model), "--json")

    def received() -> list[int]:
        return [port["wire"]["sink"]["received"] for port in model.stats()["ports"]]

    eventually(lambda: received() == [1000, 1000], "every frame has crossed")
    forwarder.send_signal(signal.SIGTERM)
    assert forwarder.wait(30) == 0
    assert_clean(model)


@pytest.mark.parametrize("device_id", ["10f9", "10F7", "1528", "1563"])
def test_other_devices_are_accepted_by_our_driver(
    start: StartModel, folder: Path, instance: Instance, device_id: str
) -> None:
    model = start("--mmap", "--device-id", device_id)
    function = open_function(f"vfio-user:{model.sockets[0]}")
    assert function.read_config(0, 4) == int(device_id, 16) << 16 | 0x8086
    function.close()
    eventually(lambda: not model.stats()["ports"][0]["connected"], "the port is free again")
    forwarder = instance.start("-c", forwarder_config(folder, model), "--json")
    eventually(lambda: min(model.sent()) > 100, "frames flow")
    forwarder.send_signal(signal.SIGTERM)
    out, err = forwarder.communicate(timeout=30)
    assert forwarder.returncode == 0, err
    assert_exact(report_of(out))
    assert {port["device_id"] for port in assert_clean(model)["ports"]} == {device_id.lower()}


def test_without_mmap_our_driver_refuses(start: StartModel, folder: Path, instance: Instance) -> None:
    model = start()
    failed = instance.command("start", "-c", forwarder_config(folder, model))
    assert failed.returncode == 1
    assert "workers need the doorbell pages (start the bundled model with `ixyfwd model --mmap`)" in failed.stderr
    assert len(failed.stderr.splitlines()) == 1, failed.stderr
    assert_clean(model)


# By itself


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it_with_a_report(start: StartModel, number: signal.Signals) -> None:
    model = start("--mac", "02:00:00:00:00:AA", "--mac", "02:00:00:00:00:ab")
    (child,) = descendants(model.process.pid)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in model.folder.glob("*.sock*"))
    code, report, err = model.end(number)
    assert code == 0
    assert report["reason"] == f"{number.name} received"
    assert [port["mac"] for port in report["ports"]] == ["02:00:00:00:00:aa", "02:00:00:00:00:ab"]
    assert str(model.sockets[1]) in err  # where it listens
    assert not psutil.pid_exists(child.pid)
    assert not list(model.folder.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_group_ends_it_in_order(folder: Path, number: signal.Signals) -> None:
    """The model must leave the decision to the command."""
    command = [*IXYFWD, "model", *ports(folder, ("none",)), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    eventually((folder / "0.sock.control").exists, "it listens")
    ModelClient(str(folder / "0.sock.control")).close()
    os.killpg(process.pid, number)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert last_object(out)["error"] is None


def test_duration_and_lines(folder: Path) -> None:
    done = run(*IXYFWD, "model", *ports(folder, ("none", SLOW)), "--duration", "1.3", "--verbose", "--cpu", "0")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].endswith(f"vfio-user:{folder}/0.sock, wire none")
    assert "(model)" in lines[3]
    assert "(duration over)" in done.stdout
    quiet = run(*IXYFWD, "model", *ports(folder, ("none",)), "--duration", "1.3")
    assert "Mpps" not in quiet.stdout  # into a pipe, without --verbose
    assert not list(folder.iterdir())


def test_faults_are_in_the_report_and_in_the_exit_code(start: StartModel) -> None:
    model = start(wires=("none",))
    function = open_function(f"vfio-user:{model.sockets[0]}")
    function.write32(MTQC, 1)  # without RTTDCS.ARBDIS
    function.read32(MTQC)
    function.close()
    code, report, _ = model.end()
    assert code == report["exit_code"] == 1
    assert report["faults_by_kind"] == {"register_misuse": report["faults"]}
    assert report["recent_faults"][0]["port"] == "p0"
    assert "MTQC" in report["recent_faults"][0]["detail"]
    read = from_plain(ModelReport, report)
    assert any("MTQC" in line for line in model_summary(read))
    assert f"faults {report['faults']}" in model_line(read, (0.0, 0, 0))


def test_a_killed_model_process_is_said(start: StartModel) -> None:
    model = start(wires=("none",))
    assert model.process.stderr is not None
    while "model: pid" not in model.process.stderr.readline():
        assert model.process.poll() is None
    (child,) = descendants(model.process.pid)
    child.kill()
    out, err = model.process.communicate(timeout=30)
    assert model.process.returncode == 1
    assert f"the model (pid {child.pid}) was killed by SIGKILL" in err
    assert "Traceback" not in err
    assert last_object(out)["error"].endswith("was killed by SIGKILL")


def test_the_model_dies_with_the_command_and_its_sockets_are_taken_over(start: StartModel, folder: Path) -> None:
    model = start(wires=("none",))
    (child,) = descendants(model.process.pid)
    model.process.kill()
    model.process.wait()
    eventually(lambda: not psutil.pid_exists(child.pid), "the model died with the command")
    assert model.sockets[0].exists()
    again = run(*IXYFWD, "model", *ports(folder, ("none",)), "--duration", "0.1")
    assert again.returncode == 0, again.stderr
    assert not list(folder.iterdir())


# What can be wrong


def refused(*arguments: str) -> tuple[int, str]:
    """Exit code and the one sentence of a command that must not start."""
    done = run(*IXYFWD, "model", *arguments)
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.returncode, done.stderr


def test_a_second_one_on_the_same_socket_is_refused(start: StartModel, folder: Path) -> None:
    model = start()
    code, said = refused(*ports(folder, ("none",)), "--control", f"{folder}/other")
    assert code == 3
    assert "0.sock: another process listens there" in said
    assert not (folder / "other").exists()
    assert_clean(model)


def test_a_tap_without_permission(folder: Path) -> None:
    if run("unshare", "--user", "true").returncode != 0:
        pytest.skip("user namespaces are not available here")
    failed = run("unshare", "--user", *IXYFWD, "model", *ports(folder, ("tap:ixt1",)))
    assert failed.returncode == 1
    assert "ixt1" in failed.stderr
    assert len(failed.stderr.splitlines()) == 1, failed.stderr


def test_a_file_where_the_socket_should_be_is_left_alone(folder: Path) -> None:
    (folder / "0.sock").write_text("precious")
    assert refused(*ports(folder, ("none",)))[0] == 2
    assert (folder / "0.sock").read_text() == "precious"


def test_a_bad_option_as_json(folder: Path) -> None:
    done = run(*IXYFWD, "model", *ports(folder, ("tap",)), "--json")
    assert done.returncode == json.loads(done.stdout)["exit_code"] == 2
    assert "--wire tap: interface: found no such key" in done.stderr


def test_options_that_typer_asks_for() -> None:
    assert refused() == (2, "ixyfwd: Missing option '--port' (see `ixyfwd model --help`)\n")
    assert "--duration" in refused("--port", "/tmp/ixt-a", "--wire", "none", "--duration", "-1")[1]


def spec_of(*wires: str, names: tuple[str, ...] = (), **more: Any) -> Any:
    from ixyfwd.config.machine import Machine

    sockets = names or tuple(f"/tmp/ixt-{n}.sock" for n in range(len(wires)))
    return standalone_spec(StandaloneOptions(sockets, wires, **more), Machine(frozenset({0, 1}), frozenset({0})))


def test_a_port_may_be_a_device_directory() -> None:
    spec = spec_of("cable:b", "cable:p0", names=("sysfs:/tmp/ixt-dev/", "b=/tmp/ixt-1.sock"))
    assert [(port.socket, port.directory) for port in spec.ports] == [("", "/tmp/ixt-dev"), ("/tmp/ixt-1.sock", None)]
    assert spec.control == "/tmp/ixt-dev.control"


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("generator", GeneratorWire()),
        ("generator:flows=4,frame=imix,rate=1e6", GeneratorWire(flows=4, frames=IMIX, rate=1e6)),
        ("generator:frame=[64,1518],rate=max,count=3", GeneratorWire(frames=((64, 1), (1518, 1)), rate="max", count=3)),
        ('{ kind = "generator", flows = 4 }', GeneratorWire(flows=4)),
        ("generator:full=wait", GeneratorWire(full="wait")),
        ("tap:ixy0", TapWire("ixy0")),
        ("tap:interface=ixy0", TapWire("ixy0")),
        ("pcap:capture=a,b.pcap", PcapWire(capture="a,b.pcap")),
        ("pcap:capture='7',rate=line", PcapWire(capture="7", rate="line")),
    ],
)
def test_wires_as_they_are_typed(text: str, wire: Wire) -> None:
    assert spec_of(text).ports[0].wire == wire


def test_a_cable_names_and_defaults() -> None:
    spec = spec_of("cable:right", "cable:p0", names=("/tmp/ixt-0.sock", "right=/tmp/ixt-a=b"))
    assert [port.wire for port in spec.ports] == [CableWire("right"), CableWire("p0")]
    assert [(port.name, port.socket) for port in spec.ports] == [("p0", "/tmp/ixt-0.sock"), ("right", "/tmp/ixt-a=b")]
    assert spec.control == "/tmp/ixt-0.sock.control"
    assert not any(port.offer_mmap for port in spec.ports)
    assert all(port.module for port in spec.ports)
    assert not spec_of("none", module=False).ports[0].module
    assert len({port.mac for port in spec.ports}) == 2
    assert spec.feed_by_itself
    assert spec.share_cpu
    assert not spec_of("none", cpu=0).share_cpu


@pytest.mark.parametrize(
    ("wires", "more", "says"),
    [
        (("generator:flows=x",), {}, '--wire generator:flows=x: flows: found "x", expected a whole number from 1'),
        (("generator:flow=4",), {}, 'did you mean "flows"?'),
        (("generator:4",), {}, 'found "4", expected generator:KEY=VALUE'),
        (("generator:rate=1,rate=2",), {}, 'found "rate" twice'),
        (("genrator",), {}, 'did you mean "generator"?'),
        (("",), {}, "kind: found"),
        (("{ flows = 4 }",), {}, "kind: found no such key"),
        (("{ kind = ",), {}, "found no TOML inline table"),
        (("{ kind = 'none' }\nx = 1",), {}, "found more than one TOML table"),
        (("none:x=1",), {}, "found an unknown key"),
        (("tap:",), {}, "interface: found no such key"),
        (("tap:a b",), {}, "expected an interface name"),
        (("pcap",), {}, 'found neither "replay" nor "capture"'),
        (("pcap:replay=/nonexistent/a.pcap",), {}, "found no such file at /nonexistent/a.pcap"),
        (("pcap:capture=/nonexistent/a.pcap",), {}, "found no directory /nonexistent"),
        (("tap:a", "tap:a"), {}, '--wire tap:a: interface: found "a" again (--wire tap:a has it)'),
        (("cable:p9", "none"), {}, 'found "p9", expected the name of a port'),
        (("cable:p0", "none"), {}, "the port itself"),
        (("none",), {"names": ("/nonexistent/a",)}, "--port /nonexistent/a: found no directory /nonexistent"),
        (("none",), {"names": ("/tmp/" + "x" * 120,)}, "path that is too long"),
        (("none",), {"names": ("A B=/tmp/ixt-a",)}, 'found the name "A B"'),
        (("none",), {"names": ("/tmp/",)}, "expected the path of a socket"),
        (("none",), {"names": ("sysfs:",)}, "expected the path of a directory to make"),
        (("none",), {"names": ("sysfs:/nonexistent/a",)}, "--port sysfs:/nonexistent/a: found no directory"),
        (("none",), {"names": ("sysfs:/dev/null",)}, "found a file that is no directory at /dev/null"),
        (("none", "none"), {"names": ("sysfs:/tmp/ixt-a", "/tmp/ixt-a")}, "again (--port sysfs:/tmp/ixt-a has it)"),
        (("none", "none"), {"names": ("/tmp/ixt-a", "/tmp/../tmp/ixt-a")}, "again (--port /tmp/ixt-a has it)"),
        (("none", "none"), {"names": ("x=/tmp/ixt-a", "x=/tmp/ixt-b")}, 'found "x" again'),
        (("none",), {"names": ("/tmp/ixt-a", "/tmp/ixt-b")}, "--wire: found 1 for 2 --port"),
        ((), {}, "--port: found none"),
        (("none",) * 100, {}, "--port: found 100"),
        (("none",), {"macs": ("02:00",)}, "'02:00' is not a MAC address"),
        (("none",), {"macs": ("01:00:00:00:00:01",)}, "unicast"),
        (("none",) * 2, {"macs": ("02:00:00:00:00:01",)}, "--mac: found 1 for 2"),
        (("none",) * 2, {"macs": ("02:00:00:00:00:0a", "02:00:00:00:00:0A")}, "twice"),
        (
            ("none",),
            {"device_id": "1234"},
            '--device-id: found "1234", expected "10fb", "10f9", "10f7", "1528" or "1563"',
        ),
        (("none",), {"cpu": 7}, "--cpu 7: found CPU 7, expected CPUs that this machine has (0-1)"),
        (("none",), {"cpu": 1}, "--cpu 1: found CPU 1, which this process may not use"),
        (("none",), {"control": "/tmp/ixt-0.sock"}, "which is a --port too"),
        (("none",), {"control": "/nonexistent/c"}, "--control: found no directory"),
    ],
)
def test_bad_options_are_one_sentence_each(wires: tuple[str, ...], more: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as failure:
        spec_of(*wires, **more)
    assert says in str(failure.value)
    assert len(str(failure.value).splitlines()) == 1, str(failure.value)


def test_values_keep_their_kind() -> None:
    data = wire_data("pcap:loop=true,rate=2.5,replay=1979-05-27")
    assert data == {"kind": "pcap", "loop": True, "rate": 2.5, "replay": "1979-05-27"}


def test_traffic_is_what_the_wire_says() -> None:
    assert traffic({"kind": "any", "totals": {"in": 4, "out": 3, "shortfall": 0}}) == (4, 3)


def test_a_stale_socket_is_replaced_but_not_one_that_is_used(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(folder / "0.sock"))
    assert run(*IXYFWD, "model", *ports(folder, ("none",)), "--duration", "0.1").returncode == 0
    with socket.socket(socket.AF_UNIX) as used:
        used.bind(str(folder / "0.sock"))
        used.listen()
        assert refused(*ports(folder, ("none",)))[0] == 3
        assert (folder / "0.sock").exists()
