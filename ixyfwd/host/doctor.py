"""Whether this machine is ready for a configuration: one row per requirement. Everything is read, nothing changed."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ixyfwd.config.arena import arena_of
from ixyfwd.config.demand import demand_of
from ixyfwd.config.placement import place
from ixyfwd.config.schema import SCHEMES, Config
from ixyfwd.host.doctor_cpu import CPU
from ixyfwd.host.doctor_iommu import IOMMU
from ixyfwd.host.doctor_limits import LIMITS
from ixyfwd.host.doctor_machine import Finding, FindingState, MachineFiles, Need, Requirement
from ixyfwd.host.doctor_memory import MEMORY, NODE
from ixyfwd.host.doctor_pcie import DEVICE, PCIE, known_devices
from ixyfwd.kit.tree import UnreadableError
from ixyfwd.memory.hugepages import pages_for

SCHEMA: Final = 1


@dataclass(frozen=True)
class DoctorRow:
    """A requirement and what became of it. `subject`: the node or device that it is about, if it is about one."""

    topic: str
    name: str
    subject: str
    state: FindingState
    found: str
    wanted: str
    fix: str

    @property
    def label(self) -> str:
        """The requirement's name, with its subject if it has one."""
        return f"{self.name} {self.subject}" if self.subject else self.name

    def as_json(self) -> dict[str, Any]:
        """The row as plain data."""
        return {
            "topic": self.topic,
            "name": self.name,
            "subject": self.subject or None,
            "state": self.state.value,
            "found": self.found,
            "wanted": self.wanted,
            "fix": self.fix or None,
        }


def need_of(config: Config, allowed_cpus: Collection[int], chips: Mapping[str, str], *, tap: bool = False) -> Need:
    """What `config` asks of a machine whose `allowed_cpus` it may use. `chips` and `tap`: see `Need`."""
    forward = config.forward
    placement = place(config, allowed_cpus)
    workers = placement.workers
    layout = arena_of(config, len(workers))
    served = ("sim:", "vfio-user:", *SCHEMES)
    return Need(
        devices=tuple(port.device for port in config.ports if not port.device.startswith(served)),
        workers=workers,
        model=placement.model,
        demand=demand_of(
            ports=len(config.ports),
            workers=workers,
            model=placement.model is not None,
            model_cpu=placement.model,
            interrupts=forward.idle == "interrupt",
            writer=False,
        ),
        arena_pages=pages_for(layout.size),
        backing=config.memory.backing,
        ring_fill_us=layout.workers[0].rings_last_ns / 1000,
        spin=forward.idle == "spin",
        tap=tap,
        chips=chips,
    )


def examine(machine: MachineFiles, need: Need) -> list[DoctorRow]:
    """The rows of all requirements. Raises no error: what cannot be read is a row that says why."""
    return list(_rows(machine, need))


def _rows(machine: MachineFiles, need: Need) -> Iterator[DoctorRow]:
    yield from (_row(machine, need, requirement) for requirement in MEMORY)
    for node in _subjects(machine, need, "node"):
        yield from (_row(machine, need, requirement, node) for requirement in NODE)
    yield from (_row(machine, need, requirement) for requirement in (*IOMMU, *LIMITS, *CPU, *PCIE))
    for address in _subjects(machine, need, "device"):
        yield from (_row(machine, need, requirement, address) for requirement in DEVICE)


def _subjects(machine: MachineFiles, need: Need, kind: str) -> list[str]:
    """What rows are repeated for: nodes; the configured devices, or all that could be if none is."""
    try:
        if kind == "node":
            return [str(node) for node in machine.nodes()]
        return list(need.devices) or known_devices(machine, need)
    except UnreadableError:
        return []  # the row about all of them says so


def _row(machine: MachineFiles, need: Need, requirement: Requirement, subject: str = "") -> DoctorRow:
    try:
        finding = requirement.judge(machine, need, subject)
    except UnreadableError as error:
        finding = Finding(FindingState.UNKNOWN, str(error), "to be known")
    return DoctorRow(
        requirement.topic, requirement.name, subject, finding.state, finding.found, finding.wanted, finding.fix
    )


def counts(rows: Collection[DoctorRow]) -> dict[str, int]:
    """The number of rows by state."""
    return {state.value: sum(row.state is state for row in rows) for state in FindingState}


def exit_code(rows: Collection[DoctorRow]) -> int:
    """The exit code: 1 if something required is missing, else 0."""
    return 1 if any(row.state is FindingState.MISSING for row in rows) else 0
