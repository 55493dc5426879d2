"""`ixyfwd devices`, `bind` and `unbind` as typed: output, JSON, exit codes."""

import json
from pathlib import Path
from typing import Any

import pytest

from ixyfwd.cli import bind as bind_cli
from ixyfwd.cli import devices as devices_cli
from ixyfwd.cli.app import run
from ixyfwd.cli.start import replay_bindings
from ixyfwd.config.schema import Config, PortConfig
from ixyfwd.host import kernel as kernel_module
from ixyfwd.host.journal import FILE
from tests.testing.host_fake import BUS, FakeKernel, Killed

Capture = pytest.CaptureFixture[str]
A, B = "0000:01:00.0", "0000:02:00.0"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    """An 82599, eth0, with vfio-pci loaded, and an e1000e, eth1."""
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    kernel = FakeKernel(tmp_path)
    kernel.add_device(A, group="7")
    kernel.add_device(B, driver="e1000e", interface="eth1", ids="8086:10d3")
    kernel.add_driver("vfio-pci")
    for module in (bind_cli, devices_cli):
        monkeypatch.setattr(module, "Kernel", lambda: kernel)
    return kernel


def answer(capsys: Capture) -> Any:
    return json.loads(capsys.readouterr().out)


def test_devices(kernel: FakeKernel, capsys: Capture) -> None:
    kernel.ips["eth0"] = ("10.0.0.1/24",)
    assert run(["devices"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "network devices (group: IOMMU; pages: free on the node)",
        "  address      driver interface    link node group 2M pages",
        "  0000:01:00.0 ixgbe  eth0      10 Gb/s    0     7        -",
        "what they are",
        "  address      id        MAC               name",
        "  0000:01:00.0 8086:10fb 02:00:00:00:00:01 82599 SFP+",
        "in use: 0000:01:00.0: eth0 has the address 10.0.0.1/24",
        "1 other network device; `ixyfwd devices --all` shows them too",
    ]
    assert run(["devices", "--all"]) == 0
    text = capsys.readouterr().out
    assert B in text and "other" not in text and max(map(len, text.splitlines())) <= 80


def test_devices_json(kernel: FakeKernel, capsys: Capture) -> None:
    assert run(["devices", "--all", "--json"]) == 0
    data = answer(capsys)
    first, second = data["devices"]
    assert (first["address"], first["id"], first["known"], first["in_use"]) == (A, "8086:10fb", True, [])
    assert first["interfaces"][0]["speed_mbps"] == 10000
    assert (second["driver"], second["known"], data["others"]) == ("e1000e", False, 0)
    run(["bind", A])
    capsys.readouterr()
    assert run(["devices", "--json"]) == 0
    assert answer(capsys)["devices"][0]["taken_from"] == {"driver": "ixgbe", "state": "bound"}
    kernel.put("/proc/4711/comm", "ixyfwd")
    kernel.at("/proc/4711/fd").mkdir()
    kernel.at("/proc/4711/fd/9").symlink_to("/dev/vfio/7")
    assert run(["devices"]) == 0
    assert f"in use: {A}: pid 4711 (ixyfwd, /dev/vfio/7) has it open" in capsys.readouterr().out


def test_devices_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    kernel = FakeKernel(tmp_path / "empty")
    monkeypatch.setattr(devices_cli, "Kernel", lambda: kernel)
    assert run(["devices"]) == 0
    kernel.add_device(B, driver="e1000e", ids="8086:10d3")
    assert run(["devices"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "this machine has no network device on its PCI bus",
        "no device that ixyfwd drives, 1 other network device; `ixyfwd devices --all` shows them too",
    ]


def test_bind_and_unbind(kernel: FakeKernel, capsys: Capture) -> None:
    assert run(["bind", "eth0", "eth1", "--force"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{A} (eth0): taken from ixgbe, given to vfio-pci; `ixyfwd unbind {A}` gives it back",
        f"{B} (eth1): taken from e1000e, left without one; `ixyfwd unbind {B}` gives it back",
    ]
    assert run(["devices", "--all"]) == 0
    assert f"taken: {A}: from ixgbe (eth0); `ixyfwd unbind {A}` gives it back" in capsys.readouterr().out
    assert run(["bind", A]) == 0
    assert run(["unbind", "eth0"]) == 0
    assert run(["unbind", "--restore"]) == 0
    assert run(["unbind", "--all"]) == 0
    assert run(["unbind", "--all"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{A}: is with vfio-pci already",
        f"{A}: back with ixgbe, interface eth0",
        "nothing is half done",
        f"{B}: back with e1000e, interface eth1",
        "nothing to give back: the journal holds no device",
    ]


def test_dry_runs(kernel: FakeKernel, capsys: Capture) -> None:
    assert run(["bind", "eth0", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{A} (eth0): would note it in {FILE}",
        f"  would write 'vfio-pci' to {BUS}/devices/{A}/driver_override",
        f"  would write '{A}' to {BUS}/drivers/ixgbe/unbind",
        f"  would write '{A}' to {BUS}/drivers_probe",
    ]
    assert run(["bind", "eth0", "--dry-run", "--json", "--driver", "none"]) == 0
    data = answer(capsys)
    assert data["dry_run"] and data["devices"][0]["to"] is None
    assert data["devices"][0]["steps"][0] == {"write": f"{BUS}/devices/{A}/driver_override", "value": "none"}
    assert kernel.log == []
    run(["bind", A])
    capsys.readouterr()
    assert run(["unbind", "--all", "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{A}: would go back"
    assert run(["unbind", A, "--json"]) == 0
    assert answer(capsys)["devices"][0]["interfaces"] == ["eth0"]


def test_refusals_have_an_exit_code_of_their_own(kernel: FakeKernel, capsys: Capture) -> None:
    kernel.ips |= {"eth0": ("10.0.0.1/24",), "eth1": ("10.0.1.1/24",)}
    assert run(["bind", "eth0", "eth1", "--json"]) == 3
    out, err = capsys.readouterr()
    assert json.loads(out)["exit_code"] == 3
    assert err.splitlines() == [
        f"ixyfwd: {A} (eth0): eth0 has the address 10.0.0.1/24; `ip addr del 10.0.0.1/24 dev eth0` first, or use "
        "--force",
        f"ixyfwd: {B} (eth1): eth1 has the address 10.0.1.1/24; `ip addr del 10.0.1.1/24 dev eth1` first, or use "
        "--force",
    ]


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["bind"], "Missing argument"),
        (["bind", "nothing0"], "'nothing0' is neither"),
        (["bind", A, "--driver", "uio"], "--driver: found 'uio', expected vfio-pci or none"),
        (["unbind"], "name devices, or give --all, or --restore"),
        (["unbind", A, "--all"], "name devices, or give --all, or --restore"),
        (["unbind", "--restore", "--dry-run"], "not together with --restore"),
    ],
)
def test_wrong_use(kernel: FakeKernel, capsys: Capture, argv: list[str], said: str) -> None:
    assert run(argv) == 2
    assert said in capsys.readouterr().err
    assert kernel.log == []


def test_a_failed_bind_and_a_full_disk_exit_with_1(kernel: FakeKernel, capsys: Capture) -> None:
    kernel.full = True
    assert run(["bind", "eth0"]) == 1
    kernel.full = False
    kernel.refuse[f"{BUS}/drivers/ixgbe/unbind"] = "Device or resource busy"
    assert run(["bind", "eth0"]) == 1
    assert "Traceback" not in capsys.readouterr().err
    assert kernel.state() == ("ixgbe", "")


def test_start_puts_right_what_a_crash_left(
    kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(kernel_module, "Kernel", lambda: kernel)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    simulated = Config((PortConfig("p0", "sim:p0"),), ())
    real = Config((PortConfig("p0", A),), ())
    kernel.fuse = 3
    with pytest.raises(Killed):
        bind_cli.bind_command([A], None, force=False, dry_run=False, json=False)
    kernel.fuse = None
    assert kernel.state() == ("", "vfio-pci")
    replay_bindings(simulated)
    assert kernel.state() == ("", "vfio-pci")
    replay_bindings(real)
    assert kernel.state() == ("ixgbe", "")
    assert run(["bind", A]) == 0
    replay_bindings(real)
    assert kernel.state() == ("vfio-pci", "vfio-pci")  # what is bound is what start wants
    kernel.put(FILE, "garbage")
    replay_bindings(real)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"note: {A}: was half bound, is back with ixgbe" and "is damaged" in said[1] and len(said) == 2
