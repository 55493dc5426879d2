"""The arena of a run: which pages its ports allow, and on which NUMA node."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ixyfwd.errors import RefusedError
from ixyfwd.kit.pciaddress import is_pci_address
from ixyfwd.kit.tree import Tree, UnreadableError
from ixyfwd.memory.arena import FILE_NAME, Arena, create_arena
from ixyfwd.memory.hugepages import node_pool, pool_of
from ixyfwd.memory.hugetlbfs import find_mount
from ixyfwd.memory.numa import node_of, pages_by_node, running_on
from ixyfwd.pci.sysfs import SysfsFunction, quiet_orphans
from ixyfwd.pci.tree import ROOT, numa_node
from ixyfwd.plan.plan import WorkerPlan
from ixyfwd.supervisor.ports import Port

_NAMED = "hugetlbfs:"


def make_arena(ports: Sequence[Port], size: int, backing: str, root: Path = ROOT) -> Arena:
    """An arena of `size` bytes that every port can use, on the node of the ports if they agree on one.

    Raises RefusedError for pages that a port must not be given, and the errors of `create_arena`.
    """
    backing = _backing(ports, backing)
    if backing.startswith(_NAMED):
        # Creating a file there sweeps those of killed runs: their devices must not write to them any more.
        quiet_orphans(root)
    nodes = set(port_nodes(ports, root).values())
    node = nodes.pop() if len(nodes) == 1 else None
    with running_on(node, root):
        return create_arena(size, backing, node)


def _backing(ports: Sequence[Port], backing: str) -> str:
    physical = [port for port in ports if isinstance(port.function, SysfsFunction)]
    if not physical:
        return "hugepages" if backing == "auto" and any(map(_is_real, ports)) else backing
    if backing == "plain":
        raise RefusedError(
            f'memory.backing: found "plain", but port {physical[0].name} ({physical[0].function.address}) has no IOMMU '
            'and needs hugepages; write "auto", or leave the key out'
        )
    # A named file keeps its pages if everything here is killed: the device may still write to them.
    return backing if backing.startswith(_NAMED) else f"{_NAMED}{find_mount()}"


def _is_real(port: Port) -> bool:
    return is_pci_address(port.function.address)


def port_nodes(ports: Sequence[Port], root: Path = ROOT) -> dict[str, int]:
    """The NUMA node of each real port whose node the kernel knows, by the port's name."""
    nodes = {port.name: numa_node(port.function.address, root) for port in ports if _is_real(port)}
    return {name: node for name, node in nodes.items() if node is not None}


def _total(root: Path, pool: str) -> int:
    try:
        return pool_of(Tree(root), pool).total
    except UnreadableError:
        return 0


def numa_notices(
    ports: Sequence[Port], workers: Sequence[WorkerPlan], arena: Arena, root: Path = ROOT
) -> Iterator[str]:
    """A sentence for each thing that is on another node than a port: frames then cross between the sockets."""
    nodes = port_nodes(ports, root)
    homes = set(nodes.values())
    for port, node in nodes.items():
        for worker in workers:
            found = None if worker.cpu is None else node_of(worker.cpu, root)
            if found is not None and found != node:
                yield (
                    f"worker {worker.index} runs on CPU {worker.cpu} of NUMA node {found}, port {port} is on node "
                    f"{node}: slower"
                )
    away = {node: pages for node, pages in pages_by_node(arena.path or FILE_NAME, root).items() if node not in homes}
    if homes and away:
        home, count = min(homes), sum(away.values())
        pool = node_pool(home)
        yield (
            f"{count} pages of the arena are on NUMA node {min(away)}, the ports on {home}: slower; as "
            f"root: echo {_total(root, pool) + count} > {pool}/nr_hugepages"
        )
