"""What a model process is asked to be: ports, their wires, where it listens. Plain data that passes through JSON.

The configuration layer checks the values; this module only carries them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ixyfwd.model.wires.contract import Wire
from ixyfwd.model.wires.registry import wire_from_json
from ixyfwd.traffic.format import port_mac


@dataclass(frozen=True)
class PortSpec:
    """One model port: its vfio-user socket and what is at the other end of its link.

    With `directory` it is polled instead of trapped: that directory looks like the function's in sysfs, and `socket`
    is empty.
    """

    name: str
    socket: str
    mac: str
    wire: Wire
    device_id: int = 0x10FB
    offer_mmap: bool = True  # doorbell pages may be mapped by the client
    module: bool = True  # a direct-attach cable is in the SFP+ cage
    directory: str | None = None


@dataclass(frozen=True)
class ModelSpec:
    """One model process. `cpu` None = unpinned; `share_cpu` = other busy processes run there: give way when idle.

    `feed_by_itself`: a wire feeds as long as its port receives (RXEN), without being told; for drivers that know
    nothing of the control socket. `heartbeat_fd`: of `kit.heartbeat`, for the process that watches this one.
    """

    ports: tuple[PortSpec, ...]
    control: str
    cpu: int | None = None
    share_cpu: bool = False
    feed_by_itself: bool = False
    nice: int = 0
    heartbeat_fd: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain data for `from_json` in the model process."""
        ports = [{**asdict(port), "wire": port.wire.as_json()} for port in self.ports]
        return {**asdict(self), "ports": ports}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ModelSpec":
        """The inverse of `as_json`."""
        ports = tuple(PortSpec(**{**p, "wire": wire_from_json(p["wire"])}) for p in data["ports"])
        return cls(**{**data, "ports": ports})


def default_mac(index: int) -> str:
    """The address of a process's port number `index` unless one is given: locally administered, "ixy"."""
    return port_mac(index).hex(":")
