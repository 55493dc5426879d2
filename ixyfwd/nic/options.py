"""The options with which the supervisor brings a port up."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from ixyfwd.nic.rss import RssOptions

STANDARD_FRAME_BYTES: Final = 1518  # with CRC, without VLAN tags


class FlowControl(Enum):
    """Flow control by Linux's names (`ethtool -A`): rx obeys the link partner's pauses, tx asks it to pause."""

    OFF = "off"
    RX = "rx"
    TX = "tx"
    FULL = "full"

    @property
    def heeds(self) -> bool:
        """Whether a pause frame from the partner stops what this port sends."""
        return self in (FlowControl.RX, FlowControl.FULL)

    @property
    def asks(self) -> bool:
        """Whether this port asks the partner to pause when its packet buffer fills."""
        return self in (FlowControl.TX, FlowControl.FULL)


@dataclass(frozen=True)
class PortOptions:
    """The options of a port.

    promiscuous: take every frame; otherwise only broadcast, the port's own address and
    `mac_filters` (unicast or multicast addresses as text). mac: address to use instead
    of the one in the NVM. drop_enable: a frame for a queue without free descriptors is
    dropped and counted for that queue; without it the frame waits in the packet buffer
    and holds up all other queues. flow_control: a port that asks its partner to pause
    lets frames wait even with drop_enable, as only a filling packet buffer makes it
    ask. max_frame_bytes: the longest frame taken, with CRC; VLAN tags come on top of
    it. A frame longer than a buffer arrives in several descriptors.
    """

    promiscuous: bool = True
    mac_filters: tuple[str, ...] = ()
    mac: str | None = None
    drop_enable: bool = True
    flow_control: FlowControl = FlowControl.OFF
    max_frame_bytes: int = STANDARD_FRAME_BYTES
    rss: RssOptions = field(default_factory=RssOptions)

    @property
    def frames_wait(self) -> bool:
        """Whether frames without a descriptor wait in the packet buffer instead of being dropped."""
        return self.flow_control.asks or not self.drop_enable
