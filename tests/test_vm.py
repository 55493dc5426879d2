"""`scripts/vm` without its guest: what it says. The guest itself runs in CI by `scripts/vm check`."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.support import ROOT, environment, run
from tests.vm.checks import CHECKS
from tests.vm.image import image_at


def vm(*arguments: str, **changes: str) -> tuple[int, str, str]:
    done = run(sys.executable, "-m", "tests.vm", *arguments, env=environment(**changes), cwd=ROOT)
    return done.returncode, done.stdout, done.stderr


def test_the_checks_are_listed() -> None:
    code, out, _ = vm("list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(CHECKS)
    assert {"linux-ixgbe", "linux-ixgbe-10f9", "testpmd"} <= set(CHECKS)


def test_an_unknown_check() -> None:
    code, _, said = vm("check", "testpdm")
    assert code == 2
    assert "no check is called 'testpdm', expected one of linux-ixgbe" in said


def test_a_machine_that_cannot_build_the_guest(tmp_path: Path) -> None:
    """77 is what CI takes for a skip; nothing is left half built."""
    tools = tmp_path / "bin"
    tools.mkdir()
    code, _, said = vm("build", PATH=str(tools), IXYFWD_VM=str(tmp_path / "vm"))
    assert code == 77
    assert said.startswith("vm: no guest on this machine: ")
    assert ("debootstrap is missing" in said) or ("needs root" in said)
    assert not (tmp_path / "vm").exists()


@pytest.mark.root
def test_a_build_that_fails_is_no_image(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "debootstrap").symlink_to(shutil.which("false") or "/bin/false")
    code, _, said = vm("check", PATH=f"{tools}:/usr/bin:/bin", IXYFWD_VM=str(tmp_path / "vm"))
    assert code == 77
    assert "`debootstrap --variant=minbase trixie" in said
    assert image_at(tmp_path / "vm") is None
