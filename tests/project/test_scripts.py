"""The set-up scripts: what they say when something is missing, and that a second run does nothing."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.testing.support import ROOT, environment, run

pytestmark = pytest.mark.slow

TOOLS = (
    "bash",
    "cat",
    "cksum",
    "dirname",
    "mkdir",
    "grep",
    "tail",
    "rm",
    "flock",
    "env",
    "readlink",
    "sed",
    "cp",
    "chmod",
)


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH with the common tools and this Python, and no compiler."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        if found:
            (folder / tool).symlink_to(found)
    (folder / "python3").symlink_to(getattr(sys, "_base_executable", sys.executable))
    return folder


def script(tmp_path: Path, name: str = "run", **changes: str) -> tuple[int, str]:
    """Run a script with a virtual environment of its own; its exit code and what it said."""
    changes.setdefault("IXYFWD_VENV", str(tmp_path / "venv"))
    done = run(str(ROOT / "scripts" / name), env=environment(**changes), timeout_s=300)
    return done.returncode, done.stderr


def assert_one_sentence(said: str, *words: str) -> None:
    lines = [line for line in said.splitlines() if "installing into" not in line]
    assert len(lines) == 1, said
    assert all(word in lines[0] for word in words), said


def test_an_old_python(tmp_path: Path) -> None:
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\ncase "$2" in *version_info*) exit 1;; *) echo 3.9.2;; esac\n')
    old.chmod(0o755)
    code, said = script(tmp_path, IXYFWD_PYTHON=str(old))
    assert code == 1
    assert_one_sentence(said, "Python 3.11 or newer is needed", "3.9.2")


def test_no_python(tmp_path: Path) -> None:
    code, said = script(tmp_path, IXYFWD_PYTHON="python-that-is-not-there")
    assert code == 1
    assert_one_sentence(said, "Python 3.11 or newer is needed", "no python3 at all")


def test_no_compiler(tmp_path: Path, tools: Path) -> None:
    code, said = script(tmp_path, PATH=str(tools))
    assert code == 1
    assert_one_sentence(said, "no C compiler found", "apt-get install gcc")
    assert not (tmp_path / "venv").exists()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    code, said = script(tmp_path, IXYFWD_VENV="/proc/ixyfwd-venv")
    assert code == 1
    assert_one_sentence(said, "/proc/ixyfwd-venv cannot be written", "IXYFWD_VENV")


@pytest.mark.slow
def test_no_network(tmp_path: Path) -> None:
    nowhere = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_FIND_LINKS": "",
        "PIP_CONFIG_FILE": "/dev/null",
    }
    code, said = script(tmp_path, "test", **nowhere)
    assert code == 1
    assert_one_sentence(said, "could not be fetched")
    assert not (tmp_path / "venv" / "ixyfwd.stamp").exists()


@pytest.mark.skipif(
    os.path.realpath(sys.prefix) != os.path.realpath(ROOT / ".venv"), reason="not run by ./scripts/test"
)
def test_a_second_run_installs_nothing() -> None:
    stamp, log = ROOT / ".venv" / "ixyfwd.stamp", ROOT / ".venv" / "install.log"
    before = stamp.stat().st_mtime_ns, log.stat().st_mtime_ns
    for name, argument in (("run", "--help"), ("test", "--version")):
        done = run(str(ROOT / "scripts" / name), argument)
        assert done.returncode == 0, done.stderr
        assert "installing" not in done.stderr
    assert (stamp.stat().st_mtime_ns, log.stat().st_mtime_ns) == before
