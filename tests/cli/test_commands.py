"""What commands do: calls to the supervisor, output, exit codes, and never a traceback."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ixyfwd.cli.app import run
from ixyfwd.errors import DeviceError, IxyfwdError, RefusedError, UsageError
from ixyfwd.telemetry.plain import to_plain
from tests.testing.cli_samples import FakeSupervisor, report, report_json, status_json
from tests.testing.support import ROOT

Capture = pytest.CaptureFixture[str]
FINITE = """\
[[port]]
name = "p0"
device = "sim:p0"
wire = { count = 1000 }
[[port]]
name = "p1"
device = "sim:p1"
wire = { kind = "none" }
[[link]]
ports = ["p0", "p1"]
"""


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> FakeSupervisor:
    return FakeSupervisor(monkeypatch)


def failing(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any) -> Any:
        raise error

    return fail


def last_object(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found


# start


def test_start_without_a_file_runs_two_simulated_ports(supervisor: FakeSupervisor, capsys: Capture) -> None:
    assert run(["start", "--duration", "2.5"], 123) == 0
    (call,) = supervisor.calls
    assert [port.device for port in call["config"].ports] == ["sim:p0", "sim:p1"]
    assert call["config"].instance == "default"
    assert (call["duration_s"], call["until_done"], call["begun_ns"]) == (2.5, False, 123)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "note: no hugepages: ordinary pages are used",
        "default: forwarding on the model, 1 worker (CPU 0); end with Ctrl-C or `ixyfwd stop`",
        "1.0 s: 29.762 Mpps sent, 29.762 Mpps received (model), dropped 7, lost 0",
        "2.0 s: 29.762 Mpps sent, 29.762 Mpps received (model), dropped 7, lost 0",
        "default: stopped for 12.3 s on the model",
    ]
    assert "ports (model)" in lines and "workers (model)" in lines


def test_start_with_a_file(supervisor: FakeSupervisor, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[instance]\nname = "edge"\n[forward]\nbatch = 32\n' + FINITE)
    assert run(["start", "-c", str(path), "--until-done"]) == 0
    assert run(["start", "--config", str(path), "--instance", "other"]) == 0
    first, second = supervisor.calls
    assert (first["config"].instance, first["config"].forward.batch, first["until_done"]) == ("edge", 32, True)
    assert (second["config"].instance, second["until_done"], second["duration_s"]) == ("other", False, None)


def test_start_json_leaves_standard_output_to_one_object(supervisor: FakeSupervisor, capsys: Capture) -> None:
    assert run(["start", "--json"]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1
    assert json.loads(out) == to_plain(supervisor.report)
    assert len(err.splitlines()) == 4
    assert all("(model)" in line for line in err.splitlines() if "Mpps" in line)


def test_start_quiet_says_only_the_end(supervisor: FakeSupervisor, capsys: Capture) -> None:
    assert run(["start", "--quiet"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("default: stopped") and not err
    assert run(["start", "--quiet", "--json"]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1 and not err


@pytest.mark.parametrize("json_option", [[], ["--json"]])
def test_a_run_that_went_wrong_says_so_and_ends_with_its_code(
    supervisor: FakeSupervisor, capsys: Capture, json_option: list[str]
) -> None:
    supervisor.report = report(error="worker 1 (pid 9) was killed by SIGKILL", exit_code=1)
    assert run(["start", *json_option]) == 1
    out, err = capsys.readouterr()
    assert "ixyfwd: worker 1 (pid 9) was killed by SIGKILL\n" in err
    if json_option:
        assert last_object(out) == to_plain(supervisor.report)


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
def test_durations_that_are_none(supervisor: FakeSupervisor, capsys: Capture, value: str) -> None:
    assert run(["start", f"--duration={value}"]) == 2
    assert capsys.readouterr().err == f"ixyfwd: --duration: found {value}, expected a number of seconds above 0\n"
    assert not supervisor.calls


@pytest.mark.parametrize("argument", ["start", "status", "stop", "stats", "ports", "workers"])
def test_names_that_no_instance_can_have(supervisor: FakeSupervisor, capsys: Capture, argument: str) -> None:
    assert run([argument, "--instance", "../x"]) == 2
    expected = "ixyfwd: --instance: found '../x', expected 1 to 32 of the characters a-z, 0-9, _ and -\n"
    assert capsys.readouterr().err == expected
    assert not supervisor.calls


UNENDING = [
    (
        "",
        "the wire of port p0 never ends; give its generator a count, or use --duration",
    ),
    (FINITE.replace('kind = "none"', "flows = 3"), "the wire of port p1 never ends; give its generator a count, or"),
    (
        FINITE.replace("count = 1000", 'kind = "pcap", replay = "c.toml", loop = true'),
        "the wire of port p0 never ends; give its capture file loop = false, or use --duration",
    ),
    (
        FINITE.replace("count = 1000", 'kind = "pcap", capture = "x"'),
        'no port has a wire that feeds frames and ends ("generator" or "pcap" may); use --duration',
    ),
]


@pytest.mark.parametrize(("text", "sentence"), UNENDING)
def test_until_done_needs_wires_that_end(
    supervisor: FakeSupervisor, capsys: Capture, tmp_path: Path, text: str, sentence: str
) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    assert run(["start", "-c", str(path), "--until-done"]) == 2
    assert capsys.readouterr().err.startswith(f"ixyfwd: --until-done: {sentence}")
    assert not supervisor.calls


def test_until_done_with_a_replayed_file(supervisor: FakeSupervisor, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(FINITE.replace("count = 1000", 'kind = "pcap", replay = "c.toml"'))
    assert run(["start", "-c", str(path), "--until-done"]) == 0


# errors


ERRORS = [
    (IxyfwdError("it failed"), 1),
    (DeviceError("p0: it failed"), 1),
    (UsageError("it is wrong"), 2),
    (RefusedError("it is in use"), 3),
]


@pytest.mark.parametrize(("error", "exit_code"), ERRORS)
@pytest.mark.parametrize("arguments", [["start"], ["start", "--json"]], ids=["plain", "json"])
def test_errors_are_one_sentence_and_an_exit_code(
    supervisor: FakeSupervisor, capsys: Capture, arguments: list[str], error: IxyfwdError, exit_code: int
) -> None:
    supervisor.on_run = failing(error)
    assert run(arguments) == exit_code
    out, err = capsys.readouterr()
    assert err == f"ixyfwd: {error}\n"
    if "--json" in arguments:
        assert last_object(out) == {"error": str(error), "exit_code": exit_code}
    else:
        assert not out


def test_every_problem_of_a_file_has_its_line(supervisor: FakeSupervisor, capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[forward]\nring_size = 3\nbatch = 0\n")
    assert run(["start", "-c", str(path), "--json"]) == 2
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        f"ixyfwd: {path}:2: forward.ring_size: found 3, expected a power of two from 64 to 4096",
        f"ixyfwd: {path}:3: forward.batch: found 0, expected a whole number from 1 to 256 (half of ring_size)",
    ]
    found = last_object(out)
    assert found["exit_code"] == 2
    assert [(problem["line"], problem["key"]) for problem in found["problems"]] == [
        (2, "forward.ring_size"),
        (3, "forward.batch"),
    ]
    assert not supervisor.calls


def test_cpus_that_this_machine_does_not_have(supervisor: FakeSupervisor, capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[cpu]\n\nmodel = 8191\n")
    assert run(["start", "-c", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"ixyfwd: {path}:3: cpu.model: found CPU 8191, expected CPUs that this")
    assert not supervisor.calls


def test_the_unexpected_is_one_sentence_too(
    supervisor: FakeSupervisor, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("IXYFWD_DEBUG", raising=False)
    supervisor.on_run = failing(ZeroDivisionError("division\nby zero"))
    assert run(["start", "--json"]) == 1
    out, err = capsys.readouterr()
    sentence = (
        "unexpected ZeroDivisionError: division by zero; this is a bug in ixyfwd, please report it with what "
        "IXYFWD_DEBUG=1 shows"
    )
    assert err == f"ixyfwd: {sentence}\n"
    assert last_object(out) == {"error": sentence, "exit_code": 1}


def test_the_traceback_is_for_those_who_ask(
    supervisor: FakeSupervisor, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IXYFWD_DEBUG", "1")
    supervisor.on_run = failing(ZeroDivisionError("division by zero"))
    assert run(["start"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_interrupt_is_quiet(supervisor: FakeSupervisor, capsys: Capture) -> None:
    supervisor.on_run = failing(KeyboardInterrupt())
    assert run(["start"]) == 130
    assert capsys.readouterr() == ("", "")


WRONG_USE = [
    (["strat"], "No such command 'strat'. Did you mean"),
    (["start", "--durations", "3"], "No such option: --durations"),
    (["start", "--duration", "x"], "Invalid value for '--duration': 'x' is not a valid float"),
    (["start", "file"], "Got unexpected extra argument"),
    (["config", "check"], "Missing argument 'FILE'"),
    (["rss"], "Missing argument 'FLOW...'"),
    (["stop", "--timeout", "0"], "Invalid value for '--timeout': 0.0 is not in the range"),
]


@pytest.mark.parametrize(("arguments", "sentence"), WRONG_USE)
def test_wrong_use_ends_with_2(capsys: Capture, arguments: list[str], sentence: str) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"ixyfwd: {sentence}") and err.count("\n") == 1
    assert not out
    assert run([*arguments, "--json"]) == 2
    assert last_object(capsys.readouterr().out)["exit_code"] == 2


# the commands that talk to a running instance


@pytest.mark.parametrize("view", ["status", "stats", "ports", "workers"])
def test_views(supervisor: FakeSupervisor, capsys: Capture, view: str) -> None:
    assert run([view, "--instance", "edge"]) == 0
    out = capsys.readouterr().out
    assert "model" in out
    assert run([view, "--json", "--instance", "edge"]) == 0
    found = last_object(capsys.readouterr().out)
    assert (found["instance"], found["device"]) == ("edge", "model")
    assert all(call == {"instance": "edge", "command": "status", "timeout_s": 5.0} for call in supervisor.calls)
    whole = status_json(instance="edge")
    assert found == {key: whole[key] for key in found}
    expected = {"status": set(whole), "stats": {"drops", "sink"}, "ports": {"ports"}, "workers": {"workers"}}
    assert expected[view] <= set(found)


def test_status_shows_notices(supervisor: FakeSupervisor, capsys: Capture) -> None:
    assert run(["status"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "note: no hugepages: ordinary pages are used"


def test_stop(supervisor: FakeSupervisor, capsys: Capture) -> None:
    supervisor.answer = lambda instance, command: report_json()
    assert run(["stop", "--timeout", "3"]) == 0
    assert capsys.readouterr().out == ("default: stopped; received 2,469,134, sent 2,469,120, dropped 7, in flight 0\n")
    assert supervisor.calls == [{"instance": "default", "command": "stop", "timeout_s": 3.0}]
    assert run(["stop", "--json"]) == 0
    assert last_object(capsys.readouterr().out) == report_json()


@pytest.mark.parametrize("arguments", [["stop"], ["status"], ["workers"]])
def test_nobody_is_running(supervisor: FakeSupervisor, capsys: Capture, arguments: list[str]) -> None:
    supervisor.answer = failing(IxyfwdError("no ixyfwd instance 'default' is running"))
    assert run([*arguments, "--json"]) == 1
    out, err = capsys.readouterr()
    assert err == "ixyfwd: no ixyfwd instance 'default' is running\n"
    assert last_object(out) == {"error": "no ixyfwd instance 'default' is running", "exit_code": 1}


# config check, rss


def test_config_check_of_the_shipped_file(capsys: Capture) -> None:
    path = str(ROOT / "config.toml")
    assert run(["config", "check", path]) == 0
    assert capsys.readouterr().out.startswith(f"{path}: no problems; links p0 - p1, ")
    assert run(["config", "check", path, "--json"]) == 0
    found = last_object(capsys.readouterr().out)
    assert (found["problems"], found["exit_code"], found["links"]) == ([], 0, [["p0", "p1"]])


def test_config_check_of_a_missing_file(capsys: Capture) -> None:
    assert run(["config", "check", "/nowhere/c.toml", "--json"]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("ixyfwd: /nowhere/c.toml: found no such file, expected a configuration file")
    assert last_object(out)["problems"][0]["line"] == 0


FLOWS = ["udp 10.0.0.1:1234 10.0.0.2:80", "udp 10.0.0.2:80 10.0.0.1:1234", "10.0.0.1 10.0.0.2"]


def test_rss_predicts_both_directions(capsys: Capture) -> None:
    assert run(["rss", *FLOWS, "--queues", "4", "--json"]) == 0
    found = last_object(capsys.readouterr().out)
    there, back, plain = found["flows"]
    assert found["queues"] == 4
    assert there["queue"] == there["reverse_queue"] == back["queue"]
    assert (there["field"], plain["field"]) == ("udp4", "ipv4")
    assert sum(found["flows_per_queue"]) == 3 and len(found["flows_per_queue"]) == 4
    assert found["imbalance"] == round(max(found["flows_per_queue"]) * 4 / 3, 4)


def test_rss_uses_the_key_of_the_file(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('[rss]\nkey = "microsoft"\nfields = ["tcp4"]\n[cpu]\nworkers = 3\n')
    # A vector of the published verification suite.
    assert run(["rss", "tcp 66.9.149.187:2794 161.142.100.80:1766", FLOWS[0], "-c", str(path), "--json"]) == 0
    found = last_object(capsys.readouterr().out)
    assert (found["queues"], found["key"]) == (3, "microsoft")
    assert found["flows"][0]["hash"] == "0x51ccc178"
    assert (found["flows"][1]["field"], found["flows"][1]["queue"]) == (None, 0)


X550_PORTS = """
[[port]]
name = "a"
device = "sim:a"
device_id = 0x1563
[[port]]
name = "b"
device = "sim:b"
device_id = "%s"
[[link]]
ports = ["a", "b"]
"""


def test_rss_uses_the_table_of_the_chip(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(X550_PORTS % "1563")
    assert run(["rss", FLOWS[0], "-c", str(path), "--queues", "16", "--json"]) == 0
    large = last_object(capsys.readouterr().out)
    assert run(["rss", FLOWS[0], "-c", str(path), "--queues", "16", "--json", "--reta", "128"]) == 0
    small = last_object(capsys.readouterr().out)
    assert (large["reta_entries"], small["reta_entries"]) == (512, 128)
    value = int(large["flows"][0]["hash"], 16)
    assert [one["flows"][0]["reta_index"] for one in (large, small)] == [value % 512, value % 128]


def test_rss_of_tables_that_differ_is_asked_back(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(X550_PORTS % "10fb")
    assert run(["rss", FLOWS[0], "-c", str(path), "--queues", "2"]) == 2
    assert "differ in size (a 512, b 128); say with --reta" in capsys.readouterr().err
    assert run(["rss", FLOWS[0], "-c", str(path), "--queues", "2", "--reta", "512"]) == 0


def test_rss_as_text(capsys: Capture) -> None:
    assert run(["rss", FLOWS[0], "--queues", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == FLOWS[0]
    assert lines[1].split() == ["queue", "answers", "hash", "hashed", "by", "RETA", "entry"]
    assert lines[-1].startswith("flows per queue ") and "imbalance 2.00" in lines[-1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["rss", "tcp 10.0.0.1 10.0.0.2"],
        ["rss", FLOWS[0], "--queues", "17"],
        ["rss", FLOWS[0], "--reta", "64"],
        ["rss", FLOWS[0], "-c", "c.toml", "--instance", "default"],
    ],
)
def test_rss_wrong_use(capsys: Capture, arguments: list[str]) -> None:
    assert run(arguments) == 2
    assert capsys.readouterr().err.startswith("ixyfwd: ")
