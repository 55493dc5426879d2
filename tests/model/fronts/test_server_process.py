"""The model as the process that the supervisor starts, with its real data path."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from ixyfwd.errors import DeviceGoneError
from ixyfwd.model.client import ModelClient
from ixyfwd.model.wires.cable import CableWire
from ixyfwd.model.wires.generator import GeneratorWire
from ixyfwd.model.wires.none import NoWire
from ixyfwd.pci.open import open_function
from tests.testing.model_child import (
    RING,
    Process,
    Start,
    connect_if_free,
    drivers,
    make_spec,
    memory_of,
    model_processes,
)
from tests.testing.support import eventually

# The parent starts the model and dies, leaving it to its fate.
ORPHANING = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "ixyfwd.model", "--spec-fd", sys.argv[1], "--ready-fd", sys.argv[2]],
                         pass_fds=(int(sys.argv[1]), int(sys.argv[2])))
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with model_processes(tmp_path) as found:
        yield found


# Life


def test_ready_then_quit(start: Start, tmp_path: Path) -> None:
    process, spec = start()
    assert process.words == {"ready": True}
    assert len(list(tmp_path.iterdir())) == 3
    control = ModelClient(spec.control)
    assert [port["wire"]["kind"] for port in control.stats()["ports"]] == ["none", "none"]
    control.quit()
    assert process.end() == (0, "")
    assert not list(tmp_path.iterdir())
    control.close()


def test_stop_signals_are_left_to_the_parent(start: Start, tmp_path: Path) -> None:
    process, spec = start()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process.child.send_signal(number)
    control = ModelClient(spec.control)
    control.stats()
    control.quit()
    control.close()
    assert process.end() == (0, "")
    assert not list(tmp_path.iterdir())


def test_killed_model_is_a_gone_device(start: Start) -> None:
    process, spec = start()
    function = open_function(f"vfio-user:{spec.ports[0].socket}")
    control = ModelClient(spec.control)
    process.child.kill()
    process.child.wait()
    with pytest.raises(DeviceGoneError, match=f"{function.address}: the server closed the connection"):
        function.read32(8)
    with pytest.raises(DeviceGoneError):
        control.stats()
    with pytest.raises(DeviceGoneError, match="no process listens"):
        open_function(function.address)
    again, _ = start()
    assert again.words == {"ready": True}, "what the killed one left behind is replaced"


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    spec_fd = memory_of(json.dumps(make_spec(tmp_path, NoWire()).as_json()).encode())
    ready, ready_fd = os.pipe()
    command = [sys.executable, "-c", ORPHANING, str(spec_fd), str(ready_fd)]
    with subprocess.Popen(
        command, pass_fds=(spec_fd, ready_fd), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        os.close(spec_fd)
        os.close(ready_fd)
        assert parent.stdout
        model = psutil.Process(int(parent.stdout.readline()))
        with os.fdopen(ready) as pipe:
            assert json.loads(pipe.readline()) == {"ready": True}
        parent.kill()
    eventually(lambda: not model.is_running() or model.status() == psutil.STATUS_ZOMBIE, "the model is gone")


def test_it_runs_where_it_is_told(start: Start) -> None:
    cpu = sorted(os.sched_getaffinity(0))[-1]
    process, _ = start(cpu=cpu)
    assert psutil.Process(process.child.pid).cpu_affinity() == [cpu]


def test_it_is_lean(start: Start) -> None:
    """A model that imports numpy or typer starts three times as slowly."""
    process, _ = start()
    loaded = Path(f"/proc/{process.child.pid}/maps").read_text()
    assert "_datapath" in loaded
    assert "numpy" not in loaded
    probe = "import sys, ixyfwd.model.process, ixyfwd.model.datapath.binding; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "typer", "rich", "psutil", "scapy"} & set(modules)


# What can be wrong


def assert_refused(process: Process, exit_code: int, *words: str) -> None:
    assert process.words["exit_code"] == exit_code
    assert all(word in process.words["error"] for word in words), process.words
    code, error = process.end()
    assert code == exit_code
    assert error == ""  # said once, to whoever started it


def test_a_busy_socket(start: Start, tmp_path: Path) -> None:
    _, spec = start()
    second = Process(replace(spec, control=str(tmp_path / "other.sock")).as_json())
    assert_refused(second, 3, "p0.sock", "another process listens there")
    assert open_function(f"vfio-user:{spec.ports[0].socket}").read32(8)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["control.sock", "p0.sock", "p1.sock"]


def test_a_cpu_that_does_not_exist(tmp_path: Path) -> None:
    assert_refused(Process(make_spec(tmp_path, NoWire(), cpu=1000).as_json()), 2, "CPU 1000")


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    process = Process(make_spec(tmp_path / "none", NoWire()).as_json())
    assert_refused(process, 1, "cannot listen on", "No such file")


def test_a_wrong_mac_address(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, NoWire())
    process = Process(replace(spec, ports=(replace(spec.ports[0], mac="zz"),)).as_json())
    assert_refused(process, 2, "port p0", "'zz' is no MAC address")


@pytest.mark.parametrize("spec", [{}, [], 7, {"ports": 3}, {"ports": [], "control": "x", "more": 1}])
def test_a_spec_that_is_none(spec: Any) -> None:
    assert_refused(Process(spec), 2, "the model's spec")


def test_usage() -> None:
    done = subprocess.run([sys.executable, "-m", "ixyfwd.model", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("ixyfwd model: usage: python -m ixyfwd.model")


# Frames, end to end, with a driver of a few lines


def test_a_frame_over_a_cable(start: Start) -> None:
    _, spec = start(CableWire("p1"), CableWire("p0"))
    control = ModelClient(spec.control)
    control.start()
    left, right = drivers(spec)
    right.receive()
    right.ring_bell(0x1018, RING - 1)
    frame = bytes.fromhex("020000000001 020000000000 88b5".replace(" ", "")) + bytes(range(100))
    left.transmit(frame)
    assert eventually(lambda: right.received(0), "the frame arrives") == frame
    eventually(lambda: left.function.read32(0x6010) == 1, "TDH moves")
    assert os.pread(left.arena, 1, 0x400C)[0] & 1, "the RS descriptor is written back"
    assert right.function.read32(0x1010) == 1
    assert left.function.read32(0x4080) == 1, "GPTC"
    assert right.function.read32(0x4074) == 1, "GPRC"
    assert right.function.read32(0x4074) == 0, "cleared by reading"
    stats = control.stats()
    assert [port["faults"]["total"] for port in stats["ports"]] == [0, 0], stats
    left.close()
    right.close()
    control.close()


def test_generated_frames_fill_the_ring(start: Start) -> None:
    _, spec = start(GeneratorWire(flows=4, rate="line"), NoWire())
    control = ModelClient(spec.control)
    (driver,) = drivers(replace(spec, ports=spec.ports[:1]))
    driver.receive()
    driver.ring_bell(0x1018, RING - 1)
    control.start()
    eventually(lambda: driver.function.read32(0x1010) == RING - 1, "the ring fills")
    assert all(driver.received(n) for n in range(RING - 1))
    assert driver.received(RING - 1) is None
    assert driver.function.read32(0x1030) == RING - 1, "QPRC"
    eventually(lambda: driver.function.read32(0x3FA0) > 0, "RXMPC: a paced wire does not wait, the packet buffer fills")
    assert driver.function.read32(0x1030) == 0, "nothing more was delivered"
    assert control.stats()["ports"][0]["faults"]["total"] == 0
    driver.close()
    control.close()


def test_a_driver_that_forgets_bus_mastering_is_reported(start: Start) -> None:
    _, spec = start(CableWire("p1"), CableWire("p0"))
    control = ModelClient(spec.control)
    left, right = drivers(spec)
    left.function.set_bus_master(False)
    left.transmit(bytes(60))
    kinds = eventually(lambda: control.stats()["ports"][0]["faults"]["by_kind"], "the model notices")
    assert set(kinds) == {"dma_no_bus_master"}
    left.close()
    right.close()
    control.close()


def test_a_client_that_vanishes_in_full_flight(start: Start) -> None:
    """Twenty times in a row; the next one finds the port as new, and the model has nothing to complain of."""
    _, spec = start(GeneratorWire(flows=4, rate="max"), NoWire())
    control = ModelClient(spec.control)
    control.start()
    for _ in range(20):
        driver = eventually(lambda: connect_if_free(spec), "the port is free")
        assert driver.function.read32(0x1028) == 0
        assert driver.function.read32(0x1018) == 0
        driver.receive()
        driver.ring_bell(0x1018, RING - 1)
        eventually(lambda d=driver: d.received(0), "frames flow")  # type: ignore[misc]
        driver.close()
    assert control.stats()["ports"][0]["faults"]["total"] == 0
    control.close()


def test_sockets_need_no_umask(start: Start, tmp_path: Path) -> None:
    start(umask=0)
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
