"""Plans and parts of plans for tests of the supervisor."""

from ixyfwd.config.schema import Config, PortConfig
from ixyfwd.nic.ixgbe.device import Ixgbe
from ixyfwd.pci.function import Function
from ixyfwd.plan.make import MachineCpus, make_plan
from ixyfwd.plan.plan import Plan, PortPlan
from ixyfwd.supervisor.ports import Port


def plan_of(*ports: PortConfig) -> Plan:
    """Of unlinked ports, on a machine with two CPUs."""
    return make_plan(Config(ports, ()), MachineCpus((0, 1)))


def port_plan(name: str, device: str, index: int = 0) -> PortPlan:
    """One port's part of a plan; the ports before it are anything."""
    others = (PortConfig(f"other{n}", f"0000:{0x40 + n:02x}:00.0") for n in range(index))
    return plan_of(*others, PortConfig(name, device)).ports[index]


def port_of(plan: PortPlan, function: Function) -> Port:
    """A port of the 82599 behind `function`."""
    return Port(plan, Ixgbe(function, plan.name))
