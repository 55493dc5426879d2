"""`ixyfwd doctor`: what it prints and its exit codes, on files and on this machine."""

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

import pytest

from ixyfwd.cli.app import run
from ixyfwd.cli.doctor import doctor_command
from tests.testing.doctor_fake import ADDRESS, build

Capture = pytest.CaptureFixture[str]
REAL = f"""\
[cpu]
workers = "0"
[[port]]
name = "a"
device = "{ADDRESS}"
[[port]]
name = "b"
device = "sim:b"
[[link]]
ports = ["a", "b"]
"""


@pytest.fixture
def real(tmp_path: Path) -> Path:
    file = tmp_path / "real.toml"
    file.write_text(REAL)
    return file


def answer(capture: Capture) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capture.readouterr().out)
    return found


def test_a_ready_machine_ends_with_0(tmp_path: Path, real: Path, capsys: Capture) -> None:
    root = tmp_path / "root"
    build(root)
    assert doctor_command(real, True, root) == 0
    report = answer(capsys)
    assert (report["schema"], report["exit_code"], report["counts"]["missing"]) == (1, 0, 0)
    assert report["config"] == str(real)
    keys = {"topic", "name", "subject", "state", "found", "wanted", "fix"}
    assert all(set(row) == keys for row in report["rows"])


def test_a_required_row_that_is_missing_ends_with_1(tmp_path: Path, real: Path, capsys: Capture) -> None:
    root = tmp_path / "root"
    build(root, {"dev/vfio": None})
    assert doctor_command(real, False, root) == 1
    text = capsys.readouterr().out
    assert "  missing VFIO files" in text
    assert "fix: modprobe vfio-pci" in text
    assert "\x1b" not in text  # a pipe


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colours_are_for_terminals(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    doctor_command(None, False, tmp_path)
    assert ("\x1b[" in capsys.readouterr().out) is coloured


def test_a_wrong_file_is_wrong_use(tmp_path: Path, capsys: Capture) -> None:
    assert run(["doctor", "-c", str(tmp_path / "none.toml")]) == 2
    assert "no such file" in capsys.readouterr().err
    assert run(["doctor", "--wrong"]) == 2


def test_rows_agree_with_this_machine(capsys: Capture) -> None:
    rows, (size_kib, free, reserved, total) = _ask_while_nobody_takes_pages(capsys)
    if size_kib == 2048:
        assert rows["hugepages"]["found"] == f"{max(0, free - reserved)} of {total} pages of 2 MiB free"
    soft, _hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert rows["open files"]["found"] == ("unlimited" if soft == resource.RLIM_INFINITY else str(soft))
    groups = Path("/sys/kernel/iommu_groups")
    on = groups.is_dir() and any(groups.iterdir())
    assert rows["IOMMU"]["found"].startswith("on" if on else "off")
    swaps = Path("/proc/swaps").read_text().count("\n") - 1
    assert rows["swap"]["state"] == ("warn" if swaps > 0 else "ok")
    clock = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource").read_text().strip()
    assert rows["clock"]["found"] == clock
    isolated = Path("/sys/devices/system/cpu/isolated").read_text().strip() or "none"
    assert rows["isolated CPUs"]["found"].startswith(f"isolated: {isolated}")
    balancer = any(_comm(pid) == "irqbalance" for pid in os.listdir("/proc") if pid.isdigit())
    assert rows["irqbalance"]["state"] == ("warn" if balancer else "ok")


def _ask_while_nobody_takes_pages(capsys: Capture) -> tuple[dict[str, dict[str, Any]], tuple[int, ...]]:
    """Rows by name, and what /proc/meminfo said before and after: other tests may be using hugepages."""
    names = ("Hugepagesize", "HugePages_Free", "HugePages_Rsvd", "HugePages_Total")
    for _ in range(20):
        before = tuple(_meminfo(name) for name in names)
        assert run(["doctor", "--json"]) == 0
        rows = {row["name"]: row for row in answer(capsys)["rows"]}
        if before == tuple(_meminfo(name) for name in names):
            return rows, before
    raise AssertionError("the number of free hugepages never stood still")


def _meminfo(name: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


def _comm(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
