"""Flows as RSS distinguishes them: addresses and, for TCP and UDP, ports; read from text or from a frame."""

import re
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, Literal

from ixyfwd.errors import UsageError

IpAddress = IPv4Address | IPv6Address
TransportProtocol = Literal["tcp", "udp"]

_WITH_PORT: Final = re.compile(r"(?:\[(?P<v6>[^\]]*)\]|(?P<v4>[^:\[\]]*))(?::(?P<port>.*))?")
_EXPECTED: Final = (
    "expected 'udp 10.0.0.1:1234 10.0.0.2:80', 'tcp [2001:db8::1]:80 [2001:db8::2]:443' or '10.0.0.1 10.0.0.2'"
)
_ETHERTYPE_IPV4: Final = 0x0800
_ETHERTYPE_IPV6: Final = 0x86DD
_ETHERTYPE_VLAN: Final = 0x8100
_PROTOCOLS: Final[dict[int, TransportProtocol]] = {6: "tcp", 17: "udp"}
_FRAGMENT: Final = 0x3FFF  # MF and the offset


@dataclass(frozen=True)
class Flow:
    """A flow. `protocol`: "tcp" or "udp" with both ports, or None (others, fragments) without ports."""

    source: IpAddress
    destination: IpAddress
    protocol: TransportProtocol | None = None
    source_port: int | None = None
    destination_port: int | None = None

    @property
    def version(self) -> int:
        """The version of IP: 4 or 6."""
        return self.source.version

    def reversed(self) -> "Flow":
        """The flow of the opposite direction."""
        return replace(
            self,
            source=self.destination,
            destination=self.source,
            source_port=self.destination_port,
            destination_port=self.source_port,
        )

    def hash_input(self, *, ports: bool) -> bytes:
        """The bytes that RSS hashes: addresses and, with `ports`, ports in wire order.

        They are 8 or 12 bytes for IPv4, 32 or 36 for IPv6 (82599 datasheet 7.1.2.8.1).
        """
        data = self.source.packed + self.destination.packed
        if not ports or self.source_port is None or self.destination_port is None:
            return data
        return data + self.source_port.to_bytes(2, "big") + self.destination_port.to_bytes(2, "big")

    def __str__(self) -> str:
        source = _end_text(self.source, self.source_port)
        destination = _end_text(self.destination, self.destination_port)
        return f"{self.protocol} {source} {destination}" if self.protocol else f"{source} {destination}"


def _end_text(address: IpAddress, port: int | None) -> str:
    if port is None:
        return str(address)
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"


def parse_flow(text: str) -> Flow:
    """The flow in the text `[tcp|udp] SOURCE DESTINATION`. Raises UsageError, which names the wrong part."""
    words = [word for word in text.split() if word not in ("->", ">")]
    protocol: TransportProtocol | None = None
    if words and words[0].lower() in ("tcp", "udp"):
        protocol = "tcp" if words.pop(0).lower() == "tcp" else "udp"
    if len(words) != 2:
        raise UsageError(f"flow {text!r}: found {len(words)} end points; {_EXPECTED}")
    source, source_port = _parse_end(text, words[0], protocol)
    destination, destination_port = _parse_end(text, words[1], protocol)
    if source.version != destination.version:
        raise UsageError(f"flow {text!r}: one end is IPv4, the other IPv6; {_EXPECTED}")
    return Flow(source, destination, protocol, source_port, destination_port)


def _parse_end(text: str, end: str, protocol: TransportProtocol | None) -> tuple[IpAddress, int | None]:
    if protocol is None:
        return _parse_address(text, end.removeprefix("[").removesuffix("]")), None
    if end.count(":") > 1 and not end.startswith("["):
        raise UsageError(f"flow {text!r}: the IPv6 address of {end!r} must stand in brackets; {_EXPECTED}")
    match = _WITH_PORT.fullmatch(end)
    if match is None or match["port"] is None:
        raise UsageError(f"flow {text!r}: {end!r} has no port; {_EXPECTED}")
    port = match["port"]
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 0xFFFF):
        raise UsageError(f"flow {text!r}: {port!r} is not a port; expected 0 to 65535")
    return _parse_address(text, match["v6"] if match["v6"] is not None else match["v4"]), int(port)


def _parse_address(text: str, address: str) -> IpAddress:
    try:
        parsed = ip_address(address)
    except ValueError:
        hint = "; say tcp or udp in front if it carries a port" if ":" in address else ""
        raise UsageError(f"flow {text!r}: {address!r} is not an IP address{hint}; {_EXPECTED}") from None
    if isinstance(parsed, IPv6Address) and parsed.scope_id is not None:
        raise UsageError(f"flow {text!r}: {address!r} has a zone, which is not part of a frame; leave it out")
    return parsed


def flow_of_frame(frame: bytes) -> Flow | None:
    """The flow of an Ethernet frame, with or without a VLAN tag; None if it is not hashed (not IP, cut off).

    IPv6 extension headers end the parsing: such frames are hashed by their addresses
    (82599 datasheet 7.1.2.8).
    """
    at = 12
    if frame[at : at + 2] == _ETHERTYPE_VLAN.to_bytes(2, "big"):
        at += 4
    ethertype = int.from_bytes(frame[at : at + 2], "big")
    packet = frame[at + 2 :]
    if ethertype == _ETHERTYPE_IPV4:
        return _flow_of_ipv4(packet)
    if ethertype == _ETHERTYPE_IPV6:
        return _flow_of_ipv6(packet)
    return None


def _flow_of_ipv4(packet: bytes) -> Flow | None:
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[0] & 0xF < 5:
        return None
    header_bytes = 4 * (packet[0] & 0xF)
    fragment = int.from_bytes(packet[6:8], "big") & _FRAGMENT
    flow = Flow(IPv4Address(packet[12:16]), IPv4Address(packet[16:20]))
    return flow if fragment else _with_ports(flow, packet[9], packet[header_bytes:])


def _flow_of_ipv6(packet: bytes) -> Flow | None:
    if len(packet) < 40 or packet[0] >> 4 != 6:
        return None
    flow = Flow(IPv6Address(packet[8:24]), IPv6Address(packet[24:40]))
    return _with_ports(flow, packet[6], packet[40:])


def _with_ports(flow: Flow, number: int, payload: bytes) -> Flow:
    protocol = _PROTOCOLS.get(number)
    if protocol is None or len(payload) < 4:
        return flow
    source, destination = int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:4], "big")
    return replace(flow, protocol=protocol, source_port=source, destination_port=destination)
