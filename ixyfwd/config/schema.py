"""What a configuration says, checked and complete: frozen, with every default filled in.

`config.toml` at the top of the repository documents every key; `load.py` turns a file into these.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from ixyfwd.memory.layout import frame_buffers
from ixyfwd.model.wires.contract import Wire
from ixyfwd.nic.limits import widest
from ixyfwd.nic.options import STANDARD_FRAME_BYTES
from ixyfwd.programs.contract import ProgramOptions
from ixyfwd.programs.registry import DEFAULT_PROGRAM, fusible, programs
from ixyfwd.settings.problems import Source

EngineName = Literal["native", "vector", "naive"]
Idle = Literal["spin", "adaptive", "sleep", "interrupt"]
Loop = Literal["auto", "python", "fused"]
FlowControlName = Literal["off", "rx", "tx", "full"]
RssField = Literal["ipv4", "tcp4", "udp4", "ipv6", "tcp6", "udp6"]

ENGINES: Final[tuple[EngineName, ...]] = ("native", "vector", "naive")
IDLES: Final[tuple[Idle, ...]] = ("spin", "adaptive", "sleep", "interrupt")
LOOPS: Final[tuple[Loop, ...]] = ("auto", "python", "fused")
FLOW_CONTROLS: Final[tuple[FlowControlName, ...]] = ("off", "rx", "tx", "full")
RSS_FIELDS: Final[tuple[RssField, ...]] = ("ipv4", "tcp4", "udp4", "ipv6", "tcp6", "udp6")

SIM_VENDOR_ID: Final = 0x8086
SIM_DEVICE_IDS: Final[Mapping[str, int]] = {  # what the model plays: 82599 SFP+, CX4, KX4; X540, X550
    name: int(name, 16) for name in ("10fb", "10f9", "10f7", "1528", "1563")
}
NAME: Final = re.compile(r"[a-z0-9_-]{1,32}")
NAME_EXPECTED: Final = "1 to 32 of the characters a-z, 0-9, _ and -"
# The widest that some NIC family can do: which one drives a PCI address is known only when it is opened, and what that
# one cannot do is refused then (`nic.check`).
_LIMITS: Final = widest()
MAX_WORKERS: Final = _LIMITS.queues
RING_SIZES: Final = _LIMITS.ring_sizes
RING_FORMAT: Final = _LIMITS.ring
MIN_MAX_FRAME_BYTES: Final = STANDARD_FRAME_BYTES
MAX_MAX_FRAME_BYTES: Final = _LIMITS.max_frame_bytes
MAX_MAC_FILTERS: Final = _LIMITS.mac_filters
MAX_INTERRUPT_INTERVAL_US: Final = _LIMITS.interrupt_interval_us
SCHEMES: Final = _LIMITS.schemes  # of device addresses, besides "sim:", "vfio-user:" and PCI
HEADER_AND_CRC_BYTES: Final = 18


@dataclass(frozen=True)
class CpuConfig:
    """The CPU of each process as configured; `placement.place` turns it into CPUs.

    `workers`: CPUs in the order of the workers, or how many workers, or None for as many as cores allow.
    `nice`: of the workers and the model, -20 to 19.
    """

    main: int | None = None
    workers: tuple[int, ...] | int | None = None
    model: int | None = None
    share: bool = False
    nice: int = 0


@dataclass(frozen=True)
class PortConfig:
    """A port as configured.

    `device` is `sim:NAME`, `vfio-user:/PATH`, a PCI address in lower case or one of SCHEMES; `wire` is None unless
    `device` is `sim:`; `mac` is None for the address in the NVM. `flow_control`: "rx" heeds pause frames, "tx" sends
    them. `device_id`: the chip that the model plays, None for its usual one.
    """

    name: str
    device: str
    promiscuous: bool = True
    mac_filters: tuple[str, ...] = ()
    wire: Wire | None = None
    mac: str | None = None
    flow_control: FlowControlName = "off"
    device_id: int | None = None

    @property
    def simulated(self) -> bool:
        """Whether the bundled model serves this port."""
        return self.device.startswith("sim:")


@dataclass(frozen=True)
class ForwardConfig:
    """What workers do.

    `programs`: in the order in which a burst goes through them. `buffers` per worker; 0 = automatic. `batch` in
    buffers (of which most frames fill one), `ring_size` in descriptors, `max_frame` in bytes with CRC.
    `interrupt_interval_us`: least time between two interrupts of a queue, where `idle` is "interrupt".
    """

    programs: tuple[ProgramOptions, ...] = (programs()[DEFAULT_PROGRAM](),)
    engine: EngineName = "native"
    ring_size: int = 512
    batch: int = 64
    buffers: int = 0
    idle: Idle = "adaptive"
    interrupt_interval_us: int = 100
    loop: Loop = "auto"
    collect_garbage: bool = False  # not a key of the file: `bench latency --gc on` shows what it would cost
    max_frame: int = MIN_MAX_FRAME_BYTES

    @property
    def segmented(self) -> bool:
        """Whether a frame may fill more than one buffer."""
        return frame_buffers(self.max_frame) > 1

    @property
    def mtu(self) -> int:
        """The MTU, as the kernel counts, that fits `max_frame`: bytes without Ethernet header and CRC."""
        return self.max_frame - HEADER_AND_CRC_BYTES

    @property
    def fused(self) -> bool:
        """Whether bursts follow each other in C, without Python between them."""
        wanted = self.engine == "native" and self.loop != "python" and not self.segmented
        return wanted and fusible(self.programs)


@dataclass(frozen=True)
class RssConfig:
    """How RSS spreads frames over queues. `key` is "symmetric", "microsoft" or 80 hexadecimal digits in lower case."""

    key: str = "symmetric"
    fields: tuple[RssField, ...] = RSS_FIELDS


@dataclass(frozen=True)
class MemoryConfig:
    """Where packet memory comes from. `backing` is "auto", "hugepages", "plain" or "hugetlbfs:/MOUNT"."""

    backing: str = "auto"


@dataclass(frozen=True)
class StartConfig:
    """How long a start may take."""

    link_timeout_s: float = 10.0


@dataclass(frozen=True)
class RecoveryConfig:
    """What happens to workers that die or hang.

    `restarts`: of one worker within `window_s` seconds, until it is given up; 0: its
    death ends the run. `held_s`: seconds after which a worker that does nothing is
    killed; 0: never.
    """

    restarts: int = 5
    window_s: float = 60.0
    held_s: float = 10.0


@dataclass(frozen=True)
class Config:
    """A whole configuration. `links` are pairs of port names; each carries frames both ways."""

    ports: tuple[PortConfig, ...]
    links: tuple[tuple[str, str], ...]
    instance: str = "default"
    cpu: CpuConfig = field(default_factory=CpuConfig)
    forward: ForwardConfig = field(default_factory=ForwardConfig)
    rss: RssConfig = field(default_factory=RssConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    start: StartConfig = field(default_factory=StartConfig)
    recovery: RecoveryConfig = field(default_factory=RecoveryConfig)
    source: Source = field(default_factory=Source, compare=False, repr=False)

    def port_index(self) -> Mapping[str, int]:
        """Position of each port in `ports`, by name."""
        return {port.name: index for index, port in enumerate(self.ports)}

    def named(self, instance: str) -> "Config":
        """This configuration under the instance name `instance`."""
        return replace(self, instance=instance)
