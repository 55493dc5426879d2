"""What a whole forwarder makes of a port that misbehaves: the run goes on or ends with a sentence, and counts right."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ixyfwd.model.inject.kinds import KINDS
from ixyfwd.supervisor.places import runtime_dir
from tests.testing.model_command import SLOW, StartModel, forwarder_config, model_commands
from tests.testing.support import (
    IXYFWD,
    Instance,
    assert_exact,
    config_text,
    descendants,
    eventually,
    report_of,
    run,
    write_config,
)

WIRE = '{ kind = "generator", rate = 20_000 }'


@pytest.fixture
def start(folder: Path) -> Iterator[StartModel]:
    with model_commands(folder) as found:
        yield found


@pytest.fixture
def config(tmp_path: Path) -> str:
    return write_config(tmp_path / "config.toml", config_text([WIRE, WIRE], cpu="workers = 1"))


def fault(instance: Instance, *words: str) -> dict[str, Any]:
    """`ixyfwd inject WORDS`; what is then injected."""
    done = instance.command("inject", *words, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)["injected"]
    return found


def stopped(instance: Instance, process: "subprocess.Popen[str]") -> tuple[int, dict[str, Any]]:
    """Exit code and report of an orderly stop, which takes no longer than a stop may."""
    instance.command("stop")
    return ended(process)


def ended(process: "subprocess.Popen[str]") -> tuple[int, dict[str, Any]]:
    out, err = process.communicate(timeout=15)
    assert "Traceback" not in err
    return process.returncode, report_of(out)


def port(status: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(row for row in status["ports"] if row["name"] == name)
    return found


def sum_closes(report: dict[str, Any]) -> bool:
    return bool(report["rx_packets"] == report["tx_packets"] + sum(report["drops"].values()) + report["in_flight"])


def test_a_run_survives_a_flapping_link(instance: Instance, config: str) -> None:
    process = instance.start("-c", config, "--json")
    begun = fault(instance, "p0", "link-flap", "period-ms=3000", "count=2")
    assert begun["link-flap"]["active"]
    eventually(lambda: not port(instance.status(), "p0")["link"]["up"], "the link is seen down")
    eventually(lambda: not port(instance.status(), "p0")["injected"]["link-flap"]["active"], "the flap ends")
    eventually(lambda: port(instance.status(), "p0")["link"]["up"], "the link is up again")
    before = instance.status()["tx_packets"]
    eventually(lambda: instance.status()["tx_packets"] > before, "it forwards again")
    code, report = stopped(instance, process)
    assert code == 0
    assert_exact(report)
    assert port(report, "p0")["injected"]["link-flap"]["count"] == 2


def test_a_device_that_leaves_ends_the_run_with_a_sentence(instance: Instance, config: str) -> None:
    process = instance.start("-c", config, "--json")
    pids = [child.pid for child in descendants(process.pid)]
    fault(instance, "p0", "device-gone")
    code, report = ended(process)
    assert code == 1
    assert "port p0" in report["error"] and "left the bus" in report["error"]
    eventually(lambda: not any(psutil.pid_exists(pid) for pid in pids), "all processes are gone")
    assert not list(runtime_dir(instance.name).glob("*.sock"))


def test_damaged_frames_are_in_the_report(instance: Instance, config: str) -> None:
    process = instance.start("-c", config, "--json")
    fault(instance, "p0", "corrupt", "every=10", "count=20", "direction=rx")
    eventually(lambda: not port(instance.status(), "p0")["injected"]["corrupt"]["active"], "20 frames are damaged")
    code, report = stopped(instance, process)
    assert code == 0 and sum_closes(report) and report["faults"] == 0
    assert report["sink"]["corrupted"] == port(report, "p0")["injected"]["corrupt"]["count"] == 20


@pytest.mark.parametrize("kind", ["stuck-dd", "tx-stall", pytest.param("rx-stall", marks=pytest.mark.slow)])
def test_a_stop_while_a_ring_is_stuck_is_bounded_and_counts_it(instance: Instance, config: str, kind: str) -> None:
    process = instance.start("-c", config, "--json")
    fault(instance, "p0", kind)
    if kind == "rx-stall":
        dropped = ("rx_no_descriptor", "rx_missed")
        eventually(lambda: sum(instance.status()["drops"][cause] for cause in dropped), "frames find no descriptor")
    else:
        eventually(lambda: instance.status()["in_flight"] > 100, "frames are stuck")
    code, report = stopped(instance, process)
    assert sum_closes(report), report
    assert report["faults"] == 0
    if kind == "tx-stall":
        assert code == 1 and "TDH to meet TDT" in report["error"]
    else:
        assert code == 0, report["error"]
    assert report["in_flight"] > 100 or kind == "rx-stall"


@pytest.mark.parametrize(
    "words",
    [
        ["lost-doorbell"],
        *(
            pytest.param(words, marks=pytest.mark.slow)
            for words in (["late-write-back", "us=2000"], ["reorder"], ["eeprom-checksum"], ["slow-link"])
        ),
    ],
)
def test_what_only_disturbs_costs_nothing_but_time(instance: Instance, config: str, words: list[str]) -> None:
    process = instance.start("-c", config, "--json")
    for name in ("p0", "p1"):
        fault(instance, name, *words)
    before = instance.status()["tx_packets"]
    eventually(lambda: instance.status()["tx_packets"] > before + 2000, "it forwards even so")
    for name in ("p0", "p1"):
        assert not fault(instance, name, words[0], "off")[words[0]]["active"]
        assert fault(instance, name, "clear") == {}
    code, report = stopped(instance, process)
    assert code == 0, report["error"]
    assert_exact(report)


def test_a_held_semaphore_is_a_timeout_that_names_it(start: StartModel, folder: Path, instance: Instance) -> None:
    model = start("--mmap", wires=(SLOW, SLOW))
    config = forwarder_config(folder, model)
    control = str(folder / "0.sock.control")
    name = model.stats()["ports"][0]["name"]
    held = run(*IXYFWD, "inject", "--control", control, name, "smbi-held")
    assert held.returncode == 0, held.stderr
    assert f"{name}: smbi-held active" in held.stdout
    refused = run(*IXYFWD, "start", "-c", config, "--instance", instance.name, "--duration", "1")
    assert refused.returncode == 1
    assert "SWSM" in refused.stderr and "SMBI = 0" in refused.stderr and "Traceback" not in refused.stderr
    assert run(*IXYFWD, "inject", "--control", control, name, "smbi-held", "off").returncode == 0
    again = run(*IXYFWD, "start", "-c", config, "--instance", instance.name, "--duration", "0.3")
    assert again.returncode == 0, again.stderr
    assert model.end()[0] == 0


def test_a_reset_that_never_ends_is_tried_again_and_said(start: StartModel, folder: Path, instance: Instance) -> None:
    model = start("--mmap", wires=(SLOW, SLOW))
    config = forwarder_config(folder, model)
    control = str(folder / "0.sock.control")
    name = model.stats()["ports"][0]["name"]
    assert run(*IXYFWD, "inject", "--control", control, name, "reset-hang").returncode == 0
    failed = run(*IXYFWD, "start", "-c", config, "--instance", instance.name, "--duration", "1")
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    assert "waited 1 s for CTRL (0x00000) RST = 0 and LNK_RST = 0 while resetting the device" in failed.stderr
    off = run(*IXYFWD, "inject", "--control", control, name, "reset-hang", "off", "--json")
    # Three, and what else was written to CTRL meanwhile: that writes the 1 in RST again.
    assert json.loads(off.stdout)["injected"]["reset-hang"]["count"] >= 3
    again = run(*IXYFWD, "start", "-c", config, "--instance", instance.name, "--duration", "0.3")
    assert again.returncode == 0, again.stderr
    assert model.end()[0] == 0


def test_a_device_that_is_gone_before_the_start(start: StartModel, folder: Path, instance: Instance) -> None:
    model = start("--mmap", wires=(SLOW, SLOW))
    config = forwarder_config(folder, model)
    control = str(folder / "0.sock.control")
    name = model.stats()["ports"][1]["name"]
    assert run(*IXYFWD, "inject", "--control", control, name, "device-gone").returncode == 0
    failed = run(*IXYFWD, "start", "-c", config, "--instance", instance.name, "--duration", "1")
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    assert "all ones" in failed.stderr or "left the bus" in failed.stderr
    assert run(*IXYFWD, "inject", "--control", control, name, "device-gone", "off").returncode == 0
    again = run(*IXYFWD, "start", "-c", config, "--instance", instance.name, "--duration", "0.3")
    assert again.returncode == 0, again.stderr
    assert model.end()[0] == 0


def test_cards_as_they_are_found(start: StartModel, folder: Path, instance: Instance) -> None:
    """Silent after a reset that keeps registers, with an error of the firmware, and a BMC that uses the link."""
    model = start("--mmap", wires=(SLOW, SLOW))
    config = forwarder_config(folder, model)
    control = str(folder / "0.sock.control")
    name = model.stats()["ports"][0]["name"]
    for kind in ("reset-silence", "reset-keeps", "firmware-error", "management"):
        assert run(*IXYFWD, "inject", "--control", control, name, kind).returncode == 0
    words = ("-c", config, "--instance", instance.name, "--duration", "0.3", "--json")
    done = run(*IXYFWD, "start", *words)
    assert done.returncode == 0, done.stderr
    report = report_of(done.stdout)
    assert_exact(report)
    (notice,) = [text for text in report["notices"] if "firmware" in text]
    assert notice.startswith("port x (vfio-user:") and "indicates error 0x23 (FWSM 0x01188044)" in notice
    injected = model.stats()["ports"][0]["injected"]
    assert injected["reset-silence"]["count"] == 1 and injected["management"]["count"] == 0
    assert model.end()[0] == 0


# The command itself


def test_the_old_name_is_an_alias_that_says_so() -> None:
    old, new = run(*IXYFWD, "fault", "list"), run(*IXYFWD, "inject", "list")
    assert old.returncode == 0 and old.stdout == new.stdout
    assert "deprecated" in old.stderr and not new.stderr
    assert "fault " not in run(*IXYFWD, "--help").stdout


def test_the_list_names_every_kind() -> None:
    shown = run(*IXYFWD, "inject", "list")
    listed = json.loads(run(*IXYFWD, "inject", "list", "--json").stdout)["kinds"]
    assert [kind["name"] for kind in listed] == list(KINDS)
    assert all(f"{kind['name']}: " in shown.stdout for kind in listed)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["p0"], 2, "expected PORT KIND"),
        (["p0", "rain"], 2, "no misbehaviour is called 'rain'"),
        (["p0", "corrupt", "every=0"], 2, "every=0, expected a whole number from 1"),
        (["p0", "clear", "all"], 2, "nothing may follow clear"),
        (["p0", "corrupt"], 1, "no ixyfwd instance"),
        (["--control", "/nowhere/x.sock", "p0", "corrupt"], 1, "/nowhere/x.sock"),
    ],
)
def test_wrong_uses_are_said(words: list[str], code: int, sentence: str) -> None:
    done = run(*IXYFWD, "inject", *words, *([] if "--control" in words else ["--instance", "nobody"]))
    assert done.returncode == code
    assert sentence in done.stderr and "Traceback" not in done.stderr


def test_what_the_instance_refuses(instance: Instance, config: str) -> None:
    instance.start("-c", config)
    for words, sentence in (
        (["p9", "corrupt"], "there is no port 'p9', expected one of p0, p1"),
        (["p0", "corrupt", "off"], "corrupt is not injected; active: nothing"),
    ):
        done = instance.command("inject", *words)
        assert done.returncode == 1 and sentence in done.stderr
    shown = instance.command("inject", "p0", "clear")
    assert shown.stdout == "p0: nothing injected\n"
