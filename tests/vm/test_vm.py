"""`scripts/vm` without its guest: what it says. The guest itself runs in CI by `scripts/vm check`."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.testing.support import ROOT, environment, run
from tests.vm.checks import CHECKS
from tests.vm.checks.linux_ixgbe import judge_dmesg
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


PORT = "[   61.1] ixgbe 0000:01:00.0 eth0: "
OTHER = "[   61.2] ixgbe 0000:02:00.0 eth1: "
UP, DOWN = "NIC Link is Up 10 Gbps, Flow Control: RX/TX", "NIC Link is Down"
PENDING, RESET = "initiating reset to clear Tx work after link loss", "Reset adapter"


@pytest.mark.parametrize(
    ("said", "unexplained", "resets"),
    [
        ([PORT + UP, PORT + DOWN, PORT + UP], 0, 0),
        ([PORT + UP, PORT + DOWN, PORT + PENDING, PORT + RESET, PORT + UP], 0, 1),
        (
            [
                PORT + DOWN,
                OTHER + DOWN,
                PORT + PENDING,
                OTHER + PENDING,
                OTHER + RESET,
                PORT + RESET,
                OTHER + UP,
                PORT + UP,
            ],
            0,
            2,
        ),
        ([PORT + DOWN, PORT + PENDING, PORT + UP, PORT + DOWN, PORT + PENDING, PORT + RESET, PORT + UP], 0, 2),
        ([PORT + UP, PORT + PENDING, PORT + RESET, PORT + UP], 2, 0),  # its link was up
        ([OTHER + DOWN, PORT + UP, PORT + PENDING], 1, 0),  # another's was down
        ([PORT + DOWN, PORT + PENDING, PORT + RESET], 1, 0),  # it never came back
        ([PORT + DOWN, PORT + PENDING, PORT + RESET, PORT + RESET, PORT + UP], 1, 1),  # a reset of its own
        ([PORT + DOWN, PORT + PENDING, PORT + PENDING, PORT + UP], 1, 1),
        ([PORT + UP, PORT + RESET], 1, 0),
        ([PORT + UP, PORT + "Detected Tx Unit Hang"], 1, 0),
        (["[ 1.0] WARNING: CPU: 0 PID: 1 at net/sched/sch_generic.c"], 1, 0),
        (["[ 1.0] DMAR: [DMA Write] fault addr 0x1000"], 1, 0),
    ],
)
def test_a_reset_that_a_lost_link_explains_is_not_the_models(said: list[str], unexplained: int, resets: int) -> None:
    bad, explained = judge_dmesg(said)
    assert (len(bad), explained) == (unexplained, resets), bad
