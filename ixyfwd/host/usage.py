"""Why a device must not be taken from its driver: what this machine does with its interface."""

import ipaddress
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from ixyfwd.host.devices import HOLDING_DRIVERS, Device, Interface
from ixyfwd.host.kernel import Kernel
from ixyfwd.host.routes import Route, routes

ObstacleKind = Literal["ssh", "default-route", "route", "address", "upper", "namespace", "virtual-functions"]

_NET: Final = "/sys/class/net"
_MOST_PARENTS: Final = 64


@dataclass(frozen=True)
class Obstacle:
    """A use that stands against taking a device.

    `text` is a clause about the device, `remedy` what to do first, as one command where there is one.
    """

    kind: ObstacleKind
    text: str
    remedy: str


@dataclass(frozen=True)
class Network:
    """What the machine's interfaces are used for. `ssh`: the local address of the session that we run in, or empty."""

    addresses: Mapping[str, tuple[str, ...]]
    routes: tuple[Route, ...]
    ssh: str


def look(kernel: Kernel) -> Network:
    """The network as it is now."""
    return Network(kernel.addresses(), routes(kernel), ssh_address(kernel, os.environ, os.getpid()))


def ssh_address(kernel: Kernel, environment: Mapping[str, str], pid: int) -> str:
    """This machine's end of the ssh session that process `pid` runs in; empty if it runs in none.

    sudo takes SSH_CONNECTION out of the environment, so that of the parents counts too.
    """
    connection = environment.get("SSH_CONNECTION", "")
    for _ in range(_MOST_PARENTS):
        words = connection.split()
        if len(words) == 4:
            return words[2].partition("%")[0]
        # The command in brackets may hold anything: the fields after it are state and parent.
        fields = kernel.text(f"/proc/{pid}/stat").rpartition(")")[2].split()
        if len(fields) < 2 or not fields[1].isdecimal() or fields[1] == "0":
            return ""
        pid = int(fields[1])
        inherited = kernel.text(f"/proc/{pid}/environ").split("\0")
        connection = next((word[15:] for word in inherited if word.startswith("SSH_CONNECTION=")), "")
    return ""


def reasons(kernel: Kernel, device: Device, network: Network) -> tuple[Obstacle, ...]:
    """The reasons against taking `device` from its driver, the worst first; none if it is free."""
    return tuple(_reasons(kernel, device, network))


def _reasons(kernel: Kernel, device: Device, network: Network) -> Iterator[Obstacle]:
    for interface in device.interfaces:
        yield from _of_interface(kernel, interface, network)
    if device.driver and device.driver not in HOLDING_DRIVERS and not device.interfaces:
        yield Obstacle(
            "namespace",
            f"no interface of it is visible here although {device.driver} drives it: it may be in use in another "
            "network namespace",
            "bring it back (`ip -n NAMESPACE link set INTERFACE netns 1`)",
        )
    if device.virtual_functions:
        yield Obstacle(
            "virtual-functions",
            f"{device.virtual_functions} virtual functions hang on it and would vanish",
            f"end their use and `echo 0 > {device.path}/sriov_numvfs`",
        )


def _of_interface(kernel: Kernel, interface: Interface, network: Network) -> Iterator[Obstacle]:
    name = interface.name
    carriers = [name, *_all_uppers(kernel, name)]
    if any(_has(network.addresses.get(carrier, ()), network.ssh) for carrier in carriers):
        yield Obstacle(
            "ssh",
            f"{name} carries the ssh session that you type this into ({network.ssh})",
            "log in by another interface or at the console",
        )
    own = [ipaddress.ip_interface(text) for text in interface.addresses]
    through = [route.network for route in network.routes if route.interface == name]
    for to in (to for to in through if to.prefixlen == 0):
        yield Obstacle(
            "default-route",
            f"{name} has the IPv{to.version} default route",
            f"`ip -{to.version} route del default dev {name}`",
        )
    # An IPv6 link-local address comes with being up; it is not configured.
    for address in (address for address in own if not (address.version == 6 and address.is_link_local)):
        yield Obstacle("address", f"{name} has the address {address}", f"`ip addr del {address} dev {name}`")
    implied = {address.network for address in own}
    for to in (to for to in through if to.prefixlen and to not in implied):
        yield Obstacle("route", f"{name} has a route to {to}", f"`ip -{to.version} route del {to} dev {name}`")
    for upper in _uppers(kernel, name):
        yield _upper_reason(kernel, name, upper)


def _upper_reason(kernel: Kernel, name: str, upper: str) -> Obstacle:
    if kernel.link(f"{_NET}/{name}/master").rpartition("/")[2] == upper:
        kind = _kind(kernel, upper) or "device"
        return Obstacle("upper", f"{name} is part of the {kind} {upper}", f"`ip link set {name} nomaster`")
    kind = _kind(kernel, upper) or "interface"
    return Obstacle("upper", f"the {kind} {upper} is on top of {name}", f"`ip link del {upper}`")


def _kind(kernel: Kernel, name: str) -> str:
    words = kernel.text(f"{_NET}/{name}/uevent").split()
    kind = next((word.removeprefix("DEVTYPE=") for word in words if word.startswith("DEVTYPE=")), "")
    if not kind:  # bridges and bonds said so by their folders before they had a type
        kind = next((folder for folder in ("bridge", "bonding") if kernel.exists(f"{_NET}/{name}/{folder}")), "")
    return {"vlan": "VLAN", "bonding": "bond"}.get(kind, kind)


def _uppers(kernel: Kernel, name: str) -> list[str]:
    """Interfaces right above this one: bridge, bond, team, VRF, VLAN, macvlan."""
    entries = kernel.names(f"{_NET}/{name}")
    found = {entry.removeprefix("upper_") for entry in entries if entry.startswith("upper_")}
    master = kernel.link(f"{_NET}/{name}/master").rpartition("/")[2]
    return sorted(found | ({master} if master else set()))


def _all_uppers(kernel: Kernel, name: str) -> list[str]:
    found: list[str] = []
    waiting = _uppers(kernel, name)
    while waiting:
        upper = waiting.pop()
        if upper not in found:
            found.append(upper)
            waiting += _uppers(kernel, upper)
    return found


def _has(addresses: tuple[str, ...], wanted: str) -> bool:
    try:
        address = ipaddress.ip_address(wanted)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped  # sshd on a dual-stack socket
    return any(ipaddress.ip_interface(text).ip == address for text in addresses)
