"""What a model process is asked to be: ports, their wires, where it listens. Plain data that passes through JSON.

The configuration layer checks the values; this module only carries them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

IMIX = ((64, 28), (570, 16), (1518, 4))  # frame bytes incl. CRC, weight

Rate = float | Literal["line", "max", "recorded"]
"""Frames per second; "line" = 10 GbE wire speed; "max" = as fast as the port takes frames, never overrunning it
(like a link with flow control); "recorded" = a capture file's own time stamps (pcap only)."""


@dataclass(frozen=True)
class GeneratorWire:
    """Numbered, time-stamped UDP/IPv4 flows into the port, and a sink that checks what the port sends.

    Flow f of every generator has the same two end points, seen from the two ends: what one port's generator sends as
    A to B, the other's sends as B to A, so that a symmetric RSS key brings both directions to one worker.
    """

    flows: int = 64
    frames: tuple[tuple[int, int], ...] = ((64, 1),)  # (bytes incl. CRC, weight)
    rate: Rate = "line"
    count: int | None = None  # frames to send in all; None = until stopped
    verify: Literal["frame", "payload"] = "frame"  # what the sink compares
    kind: Literal["generator"] = "generator"


@dataclass(frozen=True)
class TapWire:
    """A TAP interface of the kernel: its frames go into the port, the port's frames come out of it. `mtu` in bytes."""

    interface: str
    mtu: int = 1500
    kind: Literal["tap"] = "tap"


@dataclass(frozen=True)
class PcapWire:
    """Frames from a capture file into the port, frames that the port sends into a capture file; either may be None."""

    replay: str | None = None
    capture: str | None = None
    loop: bool = False
    rate: Rate = "max"
    kind: Literal["pcap"] = "pcap"


@dataclass(frozen=True)
class CableWire:
    """To another port of the same model, named by `to`; both ports must name each other."""

    to: str
    kind: Literal["cable"] = "cable"


@dataclass(frozen=True)
class NoWire:
    """Nothing plugged in at the far end of a link that is up: nothing comes, what is sent is counted and gone."""

    kind: Literal["none"] = "none"


Wire = GeneratorWire | TapWire | PcapWire | CableWire | NoWire
WIRES: Mapping[str, type[Any]] = {
    "generator": GeneratorWire,
    "tap": TapWire,
    "pcap": PcapWire,
    "cable": CableWire,
    "none": NoWire,
}


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
    nothing of the control socket.
    """

    ports: tuple[PortSpec, ...]
    control: str
    cpu: int | None = None
    share_cpu: bool = False
    feed_by_itself: bool = False
    nice: int = 0

    def as_json(self) -> dict[str, Any]:
        """Plain data for `from_json` in the model process."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ModelSpec":
        """The inverse of `as_json`."""
        ports = tuple(PortSpec(**{**p, "wire": wire_from_json(p["wire"])}) for p in data["ports"])
        return cls(**{**data, "ports": ports})


def default_mac(index: int) -> str:
    """The address of a process's port number `index` unless one is given: locally administered, "ixy"."""
    return f"02:69:78:79:00:{index:02x}"


def wire_from_json(data: Mapping[str, Any]) -> Wire:
    """A wire from plain data; `kind` says which."""
    fields = dict(data)
    if "frames" in fields:
        fields["frames"] = tuple((int(size), int(weight)) for size, weight in fields["frames"])
    wire: Wire = WIRES[fields["kind"]](**fields)
    return wire
