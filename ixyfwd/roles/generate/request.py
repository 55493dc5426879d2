"""What can be asked of a worker that generates, and the order that it comes to."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from ixyfwd.errors import UsageError
from ixyfwd.roles.generate.order import Order
from ixyfwd.traffic.flows import end_points, template
from ixyfwd.traffic.format import CRC_BYTES, generator_mac, port_mac
from ixyfwd.traffic.schedule import SendRate, frame_ps, make_schedule

FRAME_BYTES_MAX: Final = 1514  # without CRC
FLOWS_MAX: Final = 4096
PORT_NUMBERS: Final = 65536


@dataclass(frozen=True)
class EndPoint:
    """One end of the generated flows; None: that of the model's own generator. Flow f has port + f."""

    mac: bytes | None = None
    ip: IPv4Address | None = None
    port: int | None = None


@dataclass(frozen=True)
class Traffic:
    """What to generate.

    `frames`: (bytes with CRC, weight). `rate`: frames per second, "line" or "max", or a share of "line" if `share` is
    not 1.
    """

    frames: Sequence[tuple[int, int]] = ((64, 1),)
    flows: int = 64
    rate: SendRate = "line"
    share: float = 1.0
    count: int | None = None
    source: EndPoint = EndPoint()
    destination: EndPoint = EndPoint()

    @property
    def like_the_model(self) -> bool:
        """Whether the sink of a model's generator wire knows these frames."""
        return self.source == EndPoint() == self.destination


def generate_order(traffic: Traffic) -> Order:
    """The worker's order. Raises UsageError."""
    if not 1 <= traffic.flows <= FLOWS_MAX:
        raise UsageError(f"--flows: found {traffic.flows}, expected 1 to {FLOWS_MAX}")
    sizes, order = make_schedule(traffic.frames, FRAME_BYTES_MAX)
    heads = [_head(traffic, flow, size + CRC_BYTES) for flow in range(traffic.flows) for size in sizes]
    return Order(
        templates=b"".join(heads).hex(),
        flows=traffic.flows,
        sizes=tuple(sizes),
        frame_ps=tuple(frame_ps(traffic.rate, traffic.share, size) for size in sizes),
        schedule=tuple(order),
        count=traffic.count,
        like_the_model=traffic.like_the_model,
    )


def _head(traffic: Traffic, flow: int, frame_bytes: int) -> bytes:
    """As the generator wire of a model's first port has it, so that its sink knows the frames; but for other ends."""
    source, destination = traffic.source, traffic.destination
    a, b, port_a, port_b = end_points(flow)
    ends = (
        _address(source, a),
        _address(destination, b),
        _port(source, flow, port_a),
        _port(destination, flow, port_b),
    )
    return template(flow, frame_bytes, 0, destination.mac or port_mac(0), source.mac or generator_mac(0), ends)


def _address(end: EndPoint, usual: int) -> int:
    return usual if end.ip is None else int(end.ip)


def _port(end: EndPoint, flow: int, usual: int) -> int:
    return usual if end.port is None else (end.port + flow) % PORT_NUMBERS
