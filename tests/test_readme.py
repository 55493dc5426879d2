"""Every command that the README shows is run."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT, environment, run

pytestmark = pytest.mark.alone

BLOCK = re.compile(r"^```(sh[^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "README.md").read_text())
IN_PLACE = os.path.realpath(sys.prefix) == os.path.realpath(ROOT / ".venv")


def test_the_readme_has_commands() -> None:
    assert len(BLOCKS) >= 6


@pytest.mark.parametrize(("kind", "commands"), BLOCKS, ids=[commands.splitlines()[0][:40] for _, commands in BLOCKS])
def test_commands_of_the_readme(kind: str, commands: str, tmp_path: Path) -> None:
    if "root" in kind and os.geteuid() != 0:
        pytest.skip("needs root")
    if "./scripts/" in commands and not IN_PLACE:
        pytest.skip("scripts install into .venv: run the tests by ./scripts/test to run these too")
    if "compare" in kind and not (ROOT / ".git").exists():
        pytest.skip("these files are no git checkout")
    if "bench" in kind:  # the same command, shorter
        commands = re.sub(r"--duration \S+", "--duration 0.3", re.sub(r"--runs \S+", "--runs 1", commands))
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    with (tmp_path / "output").open("w+") as output:  # not a pipe: what runs in the background would hold it open
        process = subprocess.Popen(
            ["bash", "-euc", commands],
            cwd=ROOT,
            env=environment(PATH=path),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=120)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for name in re.findall(r"ip netns add (\w+)", commands):  # left by a block that stopped half way
                run("ip", "netns", "del", name)
        output.seek(0)
        text = output.read()
    assert code == 0, text
    assert "Traceback" not in text
