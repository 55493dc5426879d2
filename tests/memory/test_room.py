"""Where hugepages are to be had: `doctor` and `start` agree on real mounts, pools and control groups, and are right."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ixyfwd.errors import IxyfwdError
from ixyfwd.host.doctor import examine
from ixyfwd.host.doctor_machine import FindingState, MachineFiles, Need
from ixyfwd.kit.mounts import mounts
from ixyfwd.kit.tree import Tree
from ixyfwd.memory.arena import create_arena
from ixyfwd.memory.hugepages import POOL
from ixyfwd.memory.layout import ARENA_PAGE_BYTES
from tests.testing.support import run

pytestmark = pytest.mark.root
PAGES = 4
POOL_FILE = Path(POOL) / "nr_hugepages"
DEFAULT_POOL = "/proc/sys/vm/nr_hugepages"


def said_by_start(backing: str, pages: int = PAGES) -> str:
    """The sentence with which an arena cannot be had; "" if it can."""
    try:
        create_arena(pages * ARENA_PAGE_BYTES, backing).close()
    except IxyfwdError as error:
        return str(error)
    return ""


def said_by_doctor(backing: str, pages: int = PAGES) -> tuple[str, str]:
    """What the rows on memory find missing, and the advice."""
    rows = examine(MachineFiles(), Need(workers=(0,), arena_pages=pages, backing=backing))
    missing = [row for row in rows if row.topic == "memory" and row.state is FindingState.MISSING]
    return "; ".join(row.found for row in missing), " && ".join(row.fix for row in missing)


def assert_agreed(backing: str, *words: str) -> str:
    """Both refuse with these words, or none does; the advice."""
    start, (doctor, fix) = said_by_start(backing), said_by_doctor(backing)
    assert bool(start) == bool(doctor) == bool(words), (start, doctor)
    for word in words:
        assert word in start
        assert word in doctor
    assert fix in start
    assert DEFAULT_POOL not in start + fix
    return fix


def obey(fix: str) -> None:
    """Do what the advice says."""
    done = run("sh", "-ec", fix)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A place for mounts with a blank in its name; all that was mounted there goes again."""
    place = tmp_path / "huge pages"
    place.mkdir()
    yield place
    while any(mount.point.startswith(str(tmp_path)) for mount in mounts(Tree())):
        last = [mount.point for mount in mounts(Tree()) if mount.point.startswith(str(tmp_path))][-1]
        assert run("umount", last).returncode == 0


def mount(place: Path, options: str) -> None:
    done = run("mount", "-t", "hugetlbfs", "-o", options, "none", str(place))
    assert done.returncode == 0, done.stderr


def test_a_subdirectory_a_slash_and_a_link(mounted: Path, hugepages: int) -> None:
    mount(mounted, "pagesize=2M")
    (mounted / "deep" / "er").mkdir(parents=True)
    link = mounted.parent / "link"
    link.symlink_to(mounted / "deep")
    for place in (mounted, f"{mounted}/", f"{mounted}//deep/er/", link, f"{mounted}/../link"):
        assert_agreed(f"hugetlbfs:{place}")


def test_pages_of_another_size(mounted: Path, hugepages: int) -> None:
    if not Path("/sys/kernel/mm/hugepages/hugepages-1048576kB").exists():
        pytest.skip("this processor has no pages of 1 GiB")
    mount(mounted, "pagesize=1G")
    assert "/dev/hugepages-2M" in assert_agreed(f"hugetlbfs:{mounted}", "has pages of 1048576 KiB, 2048 KiB are needed")


def test_no_mount_at_all(mounted: Path, hugepages: int) -> None:
    fix = assert_agreed(f"hugetlbfs:{mounted}", f"{mounted} is on ", ", not on hugetlbfs")
    obey(fix)
    assert_agreed(f"hugetlbfs:{mounted}")
    other = mounted / "there"
    obey(assert_agreed(f"hugetlbfs:{mounted.parent}/new", "is not a directory"))
    assert_agreed(f"hugetlbfs:{mounted.parent}/new")
    assert not other.exists()


def test_a_mount_with_too_little_room(mounted: Path, hugepages: int) -> None:
    """Its own limit is the cause, and not the pool, which has enough."""
    mount(mounted, f"pagesize=2M,size={(PAGES - 1) * 2}M")
    fix = assert_agreed(f"hugetlbfs:{mounted}", f"has room for {PAGES - 1}, {PAGES - 1} of them free")
    obey(fix)
    assert_agreed(f"hugetlbfs:{mounted}")
    with create_arena(ARENA_PAGE_BYTES, f"hugetlbfs:{mounted}"):
        assert_agreed(f"hugetlbfs:{mounted}", f"has room for {PAGES}, {PAGES - 1} of them free")


def test_too_few_pages_are_added_to_those_that_are_there(hugepages: int) -> None:
    """In the pool of 2 MiB pages, whatever the default size is."""
    before = int(POOL_FILE.read_text())
    pages = before + 8
    said, (_, fix) = said_by_start("hugepages", pages), said_by_doctor("hugepages", pages)
    assert "pages of 2 MiB free; as root: echo " in said
    assert fix.startswith("echo ")
    assert fix.endswith(f" > {POOL_FILE}")
    assert said.endswith(f" > {POOL_FILE}")
    obey(fix)
    try:
        assert int(POOL_FILE.read_text()) >= before + 8
    finally:
        POOL_FILE.write_text(str(before))


CHILD = """
import os, sys
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
from tests.memory.test_room import assert_agreed
fix = assert_agreed("hugepages", f"may have {3}, and has 0", "hugetlb.2MB")
assert sys.argv[1] in fix
assert os.system(fix) == 0
assert_agreed("hugepages")
"""


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of version 2 with the controller for hugepages."""
    for place in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")):
        if "hugetlb" in _text(place / "cgroup.controllers").split():
            break
    else:
        pytest.skip("no control group of version 2 limits hugepages here")
    control = place / "cgroup.subtree_control"
    enabled = "hugetlb" in _text(control).split()
    if not enabled:
        control.write_text("+hugetlb")
    found = place / f"ixyfwd-test-{os.getpid()}"
    found.mkdir()
    yield found
    found.rmdir()
    if not enabled:
        control.write_text("-hugetlb")


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("file", ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"])
def test_a_control_group_with_too_few(group: Path, hugepages: int, file: str) -> None:
    if not (group / file).exists():
        pytest.skip(f"this kernel has no {file}")
    (group / file).write_text(str((PAGES - 1) * ARENA_PAGE_BYTES))
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(group)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
