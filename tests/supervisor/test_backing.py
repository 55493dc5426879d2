"""The arena's pages and their place: what ports allow, NUMA nodes, and what is said about them."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from ixyfwd.errors import IxyfwdError, RefusedError
from ixyfwd.kit.tree import Tree
from ixyfwd.memory import hugetlbfs
from ixyfwd.memory.arena import Arena, create_arena
from ixyfwd.memory.layout import ARENA_PAGE_BYTES
from ixyfwd.memory.numa import cpus_of, node_of, pages_by_node, running_on
from ixyfwd.pci.function import Function
from ixyfwd.pci.sysfs import SysfsFunction
from ixyfwd.supervisor import backing
from ixyfwd.supervisor.backing import make_arena, numa_notices, port_nodes
from ixyfwd.supervisor.ports import Port
from tests.testing.driver_fake import FakeFunction
from tests.testing.pci_fake import MEMORY, A, B, add_device, command_of
from tests.testing.plans import plan_of, port_of, port_plan

MOUNT = "/mnt/huge"


@dataclass
class _Asked:
    """What `create_arena` was asked for, and where its caller then ran."""

    backing: str = ""
    cpus: frozenset[int] = frozenset()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> _Asked:
    found = _Asked()

    def create(size: int, kind: str, node: int | None) -> Arena:
        found.backing, found.cpus = kind, frozenset(os.sched_getaffinity(0))
        return create_arena(size, "plain")

    monkeypatch.setattr(backing, "create_arena", create)
    monkeypatch.setattr(backing, "find_mount", lambda: MOUNT)
    return found


def _port(name: str, function: Function, address: str) -> Port:
    function.address = address
    return port_of(port_plan(name, address), function)


def _sysfs(root: Path, **files: str) -> Port:
    add_device(root, A, **files)
    return _port("a", SysfsFunction(A, root), A)


def _vfio(root: Path, **files: str) -> Port:
    """Any function but one that is reached by physical addresses."""
    add_device(root, B, "vfio-pci", **files)
    return _port("b", FakeFunction(), B)


def _sim(root: Path) -> Port:
    return _port("s", FakeFunction(), "vfio-user:/run/s.sock")


@pytest.mark.parametrize(
    ("make", "wanted", "given"),
    [
        (_sim, "auto", "auto"),
        (_sim, "plain", "plain"),
        (_vfio, "auto", "hugepages"),
        (_vfio, "plain", "plain"),
        (_sysfs, "auto", f"hugetlbfs:{MOUNT}"),
        (_sysfs, "hugepages", f"hugetlbfs:{MOUNT}"),
        (_sysfs, "hugetlbfs:/other", "hugetlbfs:/other"),
    ],
)
def test_pages_by_port(tmp_path: Path, asked: _Asked, make: Callable[[Path], Port], wanted: str, given: str) -> None:
    port = make(tmp_path)
    make_arena([port], ARENA_PAGE_BYTES, wanted, tmp_path).close()
    assert asked.backing == given
    port.function.close()


def test_ordinary_pages_are_refused_without_an_iommu(tmp_path: Path, asked: _Asked) -> None:
    port = _sysfs(tmp_path)
    with pytest.raises(RefusedError, match=rf'memory.backing: found "plain", but port a \({A}\) has no IOMMU'):
        make_arena([_sim(tmp_path), port], ARENA_PAGE_BYTES, "plain", tmp_path)
    port.function.close()


def test_killed_runs_are_silenced_before_their_memory_is_swept(tmp_path: Path, asked: _Asked) -> None:
    folder = add_device(tmp_path, B)
    (folder / "config").write_bytes(b"\x86\x80\xfb\x10\x06\x00".ljust(256, b"\0"))
    (tmp_path / "run/ixyfwd").mkdir(parents=True)
    (tmp_path / f"run/ixyfwd/{B}.lock").write_text("pid 1\n")
    make_arena([_sim(tmp_path)], ARENA_PAGE_BYTES, "auto", tmp_path).close()
    assert command_of(folder) == MEMORY | 4, "nothing is swept without a named file"
    make_arena([_sim(tmp_path)], ARENA_PAGE_BYTES, "hugetlbfs:/other", tmp_path).close()
    assert command_of(folder) == MEMORY


def _nodes(root: Path, *nodes: tuple[int, ...]) -> None:
    for node, cpus in enumerate(nodes):
        for cpu in cpus:
            (root / f"sys/devices/system/node/node{node}/cpu{cpu}").mkdir(parents=True)


def test_the_arena_is_made_on_the_ports_node(tmp_path: Path, asked: _Asked) -> None:
    before = frozenset(os.sched_getaffinity(0))
    first = min(before)
    _nodes(tmp_path, (), (first,))
    ports = [_vfio(tmp_path, numa_node="1"), _sim(tmp_path)]
    make_arena(ports, ARENA_PAGE_BYTES, "auto", tmp_path).close()
    assert asked.cpus == {first}
    assert os.sched_getaffinity(0) == before


@pytest.mark.parametrize("node", ["-1", "0", "9"])
def test_a_node_that_is_unknown_or_has_no_cpu_of_ours_changes_nothing(tmp_path: Path, asked: _Asked, node: str) -> None:
    _nodes(tmp_path, (1000,))  # a CPU that this machine does not have
    make_arena([_vfio(tmp_path, numa_node=node)], ARENA_PAGE_BYTES, "auto", tmp_path).close()
    assert asked.cpus == os.sched_getaffinity(0)


def test_notices_on_what_is_far_from_the_ports(tmp_path: Path) -> None:
    _nodes(tmp_path, (0, 1), (2, 3))
    (tmp_path / "proc/self").mkdir(parents=True)
    line = "7f0000000000 default file=/memfd:ixyfwd-arena\\040(deleted) huge dirty=4 N0=3 N1=1 kernelpagesize_kB=2048\n"
    (tmp_path / "proc/self/numa_maps").write_text("7e0000000000 default anon=1 N0=1\n" + line)
    assert pages_by_node("ixyfwd-arena", tmp_path) == {0: 3, 1: 1}
    ports = [_vfio(tmp_path, numa_node="1"), _sim(tmp_path)]
    assert port_nodes(ports, tmp_path) == {"b": 1}
    workers = [replace(plan_of().workers[0], index=index, cpu=cpu) for index, cpu in enumerate((1, 2))]
    with create_arena(ARENA_PAGE_BYTES, "plain") as arena:
        assert list(numa_notices(ports, workers, arena, tmp_path)) == [
            "worker 0 runs on CPU 1 of NUMA node 0, port b is on node 1: slower",
            "3 pages of the arena are on NUMA node 0, the ports on 1: slower; as root: "
            "echo 3 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages",
        ]
        assert not list(numa_notices([_sim(tmp_path)], workers, arena, tmp_path))


def test_nodes(tmp_path: Path) -> None:
    _nodes(tmp_path, (0, 1), (2, 3))
    assert cpus_of(1, tmp_path) == {2, 3}
    assert cpus_of(2, tmp_path) == frozenset()
    assert [node_of(cpu, tmp_path) for cpu in (1, 2, 4)] == [0, 1, None]
    assert pages_by_node("arena", tmp_path) == {}
    before = os.sched_getaffinity(0)
    with running_on(None, tmp_path):
        assert os.sched_getaffinity(0) == before


def test_no_hugetlbfs_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    table = "20 1 8:1 / / rw - ext4 none rw\n21 20 0:9 / /none rw - hugetlbfs none rw,pagesize=2M\n"
    (tmp_path / "proc/self/mountinfo").write_text(table)
    with pytest.raises(IxyfwdError, match=r"no hugetlbfs of 2 MiB pages is mounted.*mount -t hugetlbfs"):
        hugetlbfs.find_mount(Tree(tmp_path))
