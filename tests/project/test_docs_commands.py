"""Every command that the README and the pages of `docs` show is run, by the kind that stands behind its fence.

| kind | |
|---|---|
| `sh` | run as it stands |
| `sh root` | run as root |
| `sh bench` | run with shorter times and fewer runs |
| `sh compare` | the same, in a git checkout |
| `sh vm` | run where the guest of `scripts/vm` was built, with its QEMU |
| `sh ci` | too long for a test: `.ci/run` has the same line |
| `sh manual` | needs a card, the network or another driver: its syntax and the options of its commands are checked |
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from ixyfwd.cli.app import build_app
from tests.testing.support import HUGEPAGES, IXYFWD, ROOT, environment, run
from tests.vm.image import image_at

pytestmark = pytest.mark.alone

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
KINDS = {"sh", "sh root", "sh bench", "sh compare", "sh vm", "sh ci", "sh manual"}
SLOW = {"sh bench", "sh compare", "sh vm"}
COMMAND = re.compile(r"^(ixyfwd [a-z-]|(\./)?scripts/|make [a-z]|python3? -m )", re.MULTILINE)
IN_PLACE = os.path.realpath(sys.prefix) == os.path.realpath(ROOT / ".venv")
GUEST = image_at(Path(os.environ.get("IXYFWD_VM", ROOT / ".vm")))
TIMEOUT_S = 600


def _blocks(*kinds: str) -> list[object]:
    """Each block of these kinds, with its kind; one that several pages show stands in the list once."""
    first: dict[tuple[str, str], Path] = {}
    for page in PAGES:
        for kind, commands in FENCE.findall(page.read_text()):
            if kind in kinds:
                first.setdefault((kind, commands), page)
    return [
        pytest.param(
            *block,
            id=f"{page.relative_to(ROOT)}-{block[1].strip().splitlines()[0][:40]}",
            marks=pytest.mark.slow if block[0] in SLOW else (),
        )
        for block, page in first.items()
    ]


@pytest.mark.parametrize(("kind", "commands"), _blocks("sh", "sh root", "sh bench", "sh compare", "sh vm"))
def test_commands(kind: str, commands: str, tmp_path: Path) -> None:
    if kind == "sh root" and os.geteuid() != 0:
        pytest.skip("needs root")
    if "./scripts/" in commands and not IN_PLACE:
        pytest.skip("scripts install into .venv: run the tests by ./scripts/test to run these too")
    if kind == "sh compare" and not (ROOT / ".git").exists():
        pytest.skip("these files are no git checkout")
    if kind in {"sh bench", "sh compare"}:  # the same command, shorter
        for option, value in (("--duration", "0.3"), ("--runs", "1"), ("--seconds", "1")):
            commands = re.sub(rf"{option} \S+", f"{option} {value}", commands)
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    if kind == "sh vm":
        path = f"{_qemu(tmp_path)}:{path}"
    pages = HUGEPAGES.read_text()
    with (tmp_path / "output").open("w+") as output:  # not a pipe: what runs in the background would hold it open
        process = subprocess.Popen(
            [*_own_runtime_directory(), "bash", "-euc", commands],
            cwd=ROOT,
            env=environment(PATH=path),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout=TIMEOUT_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if str(HUGEPAGES) in commands:
                HUGEPAGES.write_text(pages)
            for name in re.findall(r"ip netns add (\w+)", commands):  # left by a block that stopped half way
                run("ip", "netns", "del", name)
        output.seek(0)
        text = output.read()
    assert code == 0, text
    assert "Traceback" not in text


def _own_runtime_directory() -> list[str]:
    """As root: a mount namespace in which no other instance runs, whatever else does on this machine."""
    mount = 'mkdir -p /run/ixyfwd && mount -t tmpfs -o mode=0700 none /run/ixyfwd && exec "$@"'
    return ["unshare", "--mount", "bash", "-euc", mount, "bash"] if os.geteuid() == 0 else []


def _qemu(folder: Path) -> Path:
    """A folder with `qemu-system-x86_64` in it: that of the guest."""
    if GUEST is None:
        pytest.skip("the guest of scripts/vm is not built: `scripts/vm build`")
    tools = folder / "bin"
    tools.mkdir()
    wrapper = tools / "qemu-system-x86_64"
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(GUEST.qemu())} "$@"\n')
    wrapper.chmod(0o755)
    return tools


@pytest.mark.parametrize(("kind", "commands"), _blocks("sh ci"))
def test_long_commands_are_run_by_ci(kind: str, commands: str) -> None:
    steps = (ROOT / ".ci" / "run").read_text()
    for line in filter(None, (line.partition("#")[0].strip() for line in commands.splitlines())):
        assert re.search(rf"(^|[\s\"'=)])(\./)?{re.escape(line.removeprefix('./'))}\s*($|[;|>)])", steps, re.M), line


@pytest.mark.parametrize(("kind", "commands"), _blocks("sh manual"))
def test_commands_that_no_test_can_run(kind: str, commands: str) -> None:
    assert subprocess.run(["bash", "-n", "-c", commands], check=False).returncode == 0
    for words in _calls(commands):
        check_options(words)


SAMPLES = [
    pytest.param(command, id=f"{page.relative_to(ROOT)}-{command[:40]}")
    for page in PAGES
    for kind, text in FENCE.findall(page.read_text())
    if kind == "console"
    for command in re.findall(r"^[$#] (.*)$", text, re.MULTILINE)
]


@pytest.mark.parametrize("command", SAMPLES)
def test_commands_of_samples(command: str) -> None:
    """A `console` block shows what a command prints; its command and options exist."""
    for words in _calls(command):
        check_options(words)


def _calls(commands: str) -> list[list[str]]:
    """The words after `ixyfwd` of each line that calls it."""
    joined = commands.replace("\\\n", " ")
    lines = [shlex.split(line, comments=True) for line in joined.splitlines() if re.match(r"\s*ixyfwd\s", line)]
    return [[word for word in words[1:] if word not in {"&", "|"}] for words in lines if words]


def check_options(words: list[str]) -> None:
    """Each command is one, each option one of its options."""
    command: Any = get_command(build_app())
    for word in words:
        if word.startswith((">", "2>", "|")):
            break
        if hasattr(command, "commands") and not word.startswith("-"):
            assert word in command.commands, f"no command {word}"
            command = command.commands[word]
        elif word.startswith("-") and len(word) > 1 and not word[1].isdigit():
            known = {flag for option in command.params for flag in [*option.opts, *option.secondary_opts]}
            assert word.partition("=")[0] in known | {"--help", "-h"}, f"{command.name} has no option {word}"


def test_an_option_that_does_not_exist_is_found() -> None:
    with pytest.raises(AssertionError, match="no option --fast"):
        check_options(["start", "--fast"])
    with pytest.raises(AssertionError, match="no command strat"):
        check_options(["strat"])


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_no_command_hides_from_these_tests(page: Path) -> None:
    """A command stands in a block of one of the kinds, or in a `console` block behind its prompt."""
    text = page.read_text()
    for kind, body in FENCE.findall(text):
        assert not kind.startswith("sh") or kind in KINDS, f"{page.name}: ```{kind}"
        assert kind.startswith("sh") or not COMMAND.search(body), f"{page.name}: a command in ```{kind}:\n{body}"
    indented = re.findall(r"^    .*$", FENCE.sub("", text), re.MULTILINE)
    assert not [line for line in indented if COMMAND.match(line.strip())], f"{page.name}: a command in {indented}"


CONFIGURATIONS = [
    pytest.param(text, id=str(page.relative_to(ROOT)))
    for page in PAGES
    for kind, text in FENCE.findall(page.read_text())
    if kind == "toml"
]


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_configurations(text: str, tmp_path: Path) -> None:
    """A `toml` block is a configuration, or a part of one."""
    file = tmp_path / "shown.toml"
    file.write_text(text)
    done = run(*IXYFWD, "config", "check", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_is_short_and_has_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 180
    assert len([kind for kind, _ in FENCE.findall(readme) if kind.startswith("sh")]) >= 6


def test_make_has_what_contributors_are_told_of() -> None:
    named = set(re.findall(r"`make ([a-z]+)`", (ROOT / "CONTRIBUTING.md").read_text()))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert named and named <= targets


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    listed = set(re.findall(r"\]\((\w[\w-]*\.md)", index))
    assert listed == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
