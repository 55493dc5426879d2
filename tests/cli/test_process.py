"""The command as a process: what it imports, where its output goes, and what happens when nobody reads it."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from ixyfwd import __version__
from ixyfwd.cli.app import build_app, run
from ixyfwd.cli.output import Lines
from tests.testing.cli_samples import FakeSupervisor
from tests.testing.support import IXYFWD, ROOT

FLOW = "udp 10.0.0.1:1234 10.0.0.2:80"


@pytest.fixture
def supervisor(monkeypatch: pytest.MonkeyPatch) -> FakeSupervisor:
    return FakeSupervisor(monkeypatch)


def command(*arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    line = [*IXYFWD, *arguments]
    return subprocess.run(line, cwd=ROOT, text=True, capture_output=True, timeout=60, check=False, **more)


def test_through_typers_runner() -> None:
    runner = CliRunner()
    assert runner.invoke(build_app(), ["--version"]).output == f"ixyfwd {__version__}\n"
    found = runner.invoke(build_app(), ["--help"])
    assert found.exit_code == 0
    for name in ("start", "stop", "status", "stats", "ports", "workers", "rss", "model", "config", "bench"):
        assert f"  {name} " in found.output
    assert all(len(line) <= 80 for line in found.output.splitlines())
    assert runner.invoke(build_app(), []).exit_code == 2


def all_commands(command: Any, name: str = "") -> Iterator[tuple[list[str], Any]]:
    yield name.split(), command
    for below, found in getattr(command, "commands", {}).items():
        yield from all_commands(found, f"{name} {below}")


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_help_cuts_no_sentence(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every command: what a list says of those below it is what they say of themselves, whole."""
    monkeypatch.setenv("COLUMNS", str(columns))
    for words, parsed in all_commands(typer.main.get_command(build_app())):
        assert run([*words, "--help"]) == 0
        shown = capsys.readouterr().out
        said = "".join(shown.split())
        for below in (parsed, *getattr(parsed, "commands", {}).values()):
            assert "".join(below.help.partition("\n\n")[0].split()) in said
        for parameter in parsed.params:
            if getattr(parameter, "help", None):
                assert "".join(parameter.help.split()) in said


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["start", "--help"], ["stop"], ["model", "--help"], ["config", "--help"]]
)
def test_quick_commands_import_nothing_heavy(arguments: list[str]) -> None:
    program = (
        "import sys\nfrom ixyfwd.cli.app import run\n"
        f"run({arguments!r})\n"
        "heavy = {'numpy', 'rich', 'cffi', 'psutil', 'ixyfwd.supervisor.run', 'ixyfwd.nic.contract'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    environment = {**os.environ, "XDG_RUNTIME_DIR": "/nonexistent"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_command_itself() -> None:
    assert command("--version").stdout == f"ixyfwd {__version__}\n"
    wrong = command("config", "check", "/nowhere", "--json")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("ixyfwd: /nowhere: found no such file") and "Traceback" not in wrong.stderr
    assert json.loads(wrong.stdout)["exit_code"] == 2


@pytest.mark.parametrize("arguments", [["--help"], ["rss", FLOW], ["config", "check", "config.toml"]])
def test_a_reader_that_has_gone_is_no_error_message(arguments: list[str]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    line = [*IXYFWD, *arguments]
    done = subprocess.run(line, cwd=ROOT, stdout=write_end, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(write_end)
    assert done.stderr == ""


def test_a_full_disk_is_one_sentence() -> None:
    with open("/dev/full", "w") as full:
        line = [*IXYFWD, "config", "check", "config.toml"]
        done = subprocess.run(line, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == "ixyfwd: the output cannot be written (No space left on device)\n"


class Gone(io.StringIO):
    """A pipe without a reader."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def test_a_run_whose_reader_has_gone_is_stopped_once(
    supervisor: FakeSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `head` does: the supervisor hears of it as of a SIGTERM, not as an exception out of its observer."""
    heard: list[int] = []
    old = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        monkeypatch.setattr(sys, "stdout", Gone())
        assert run(["start"]) == 0
    finally:
        signal.signal(signal.SIGTERM, old)
    assert heard == [signal.SIGTERM]


def test_lines_after_the_run_stop_nobody() -> None:
    called: list[bool] = []
    lines = Lines(Gone(), lambda: called.append(True))
    lines.leave_open()
    lines.write("a")
    lines.write("b")
    assert not called
