"""The PCI functions that this driver accepts and refuses, and the media of their ports."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from ixyfwd.nic.contract import Refusal
from ixyfwd.nic.ids import not_driven, read_ids
from ixyfwd.pci.function import Function

INTEL: Final = 0x8086
MODELS: Final = ("82599", "X540", "X550")


class Media(Enum):
    """The medium of a port, which decides its link set-up (4.6.4)."""

    SFP = "SFP+ cage"
    OTHER = "fixed by the board's NVM"
    COPPER = "10GBASE-T PHY inside the chip, which negotiates by itself"


@dataclass(frozen=True)
class DeviceId:
    """An accepted device. `reta_entries`: of the RSS redirection table. `multi_gigabit`: links of 2.5 and 5 Gb/s.
    `recovery_mode`: its firmware has one, and FWSM says so."""

    device: int
    name: str
    media: Media
    reta_entries: int = 128
    packet_buffer_kib: int = 512
    after_reset_s: float = 10e-3  # 4.6.3.2; X540 and X550: the 100 ms of Linux's ixgbe
    multi_gigabit: bool = False
    recovery_mode: bool = False


ACCEPTED: Final = (
    DeviceId(0x10FB, "82599 SFP+", Media.SFP),
    DeviceId(0x1507, "82599 SFP+ (embedded)", Media.SFP),
    DeviceId(0x1529, "82599 SFP+ (FCoE)", Media.SFP),
    DeviceId(0x154A, "82599 SFP+ (quad port)", Media.SFP),
    DeviceId(0x154D, "82599 SFP+ (dual port)", Media.SFP),
    DeviceId(0x1557, "82599EN SFP+", Media.SFP),
    DeviceId(0x10F7, "82599 KX4", Media.OTHER),
    DeviceId(0x10F8, "82599 combined backplane", Media.OTHER),
    DeviceId(0x10F9, "82599 CX4", Media.OTHER),
    DeviceId(0x10FC, "82599 XAUI", Media.OTHER),
    DeviceId(0x1514, "82599 KX4 mezzanine", Media.OTHER),
    DeviceId(0x1517, "82599 KR", Media.OTHER),
    DeviceId(0x152A, "82599 backplane (FCoE)", Media.OTHER),
    DeviceId(0x1528, "X540-AT2", Media.COPPER, 128, 384, 100e-3),
    DeviceId(0x1560, "X540-AT1", Media.COPPER, 128, 384, 100e-3),
    DeviceId(0x1563, "X550-T2", Media.COPPER, 512, 384, 100e-3, multi_gigabit=True, recovery_mode=True),
    DeviceId(0x15D1, "X550-T1", Media.COPPER, 512, 384, 100e-3, multi_gigabit=True, recovery_mode=True),
)

_VIRTUAL: Final = (
    "a virtual function asks its physical function's driver for address, queues and frame size through a mailbox, "
    "which this driver does not speak and the bundled model, which plays no physical function, could not answer"
)
_OUTER_PHY: Final = "its link needs a PHY outside the chip, which this driver does not set up"
_EMBEDDED: Final = (
    "an X550 inside a processor, whose link is set up by firmware commands and an external PHY that this driver does "
    "not know"
)
_82598: Final = "the 82599's predecessor, whose queue, RSS and flow control registers are different ones"

REFUSED: Final = (
    (0x10ED, "82599 virtual function", _VIRTUAL),
    (0x152E, "82599 virtual function (Hyper-V)", _VIRTUAL),
    (0x1515, "X540 virtual function", _VIRTUAL),
    (0x1530, "X540 virtual function (Hyper-V)", _VIRTUAL),
    (0x1565, "X550 virtual function", _VIRTUAL),
    (0x1564, "X550 virtual function (Hyper-V)", _VIRTUAL),
    (0x15A8, "X552 virtual function", _VIRTUAL),
    (0x15C5, "X553 virtual function", _VIRTUAL),
    (0x151C, "82599 with 10GBASE-T PHY", _OUTER_PHY),
    (0x154F, "82599 LS", _OUTER_PHY),
    (0x1558, "82599 QSFP+", "its ports share one QSFP+ cage, which this driver does not arbitrate"),
    *((device, "X552 (X550EM_x)", _EMBEDDED) for device in (0x15AA, 0x15AB, 0x15AC, 0x15AD, 0x15AE, 0x15B0)),
    *((device, "X553 (X550EM_a)", _EMBEDDED) for device in (0x15C2, 0x15C3, 0x15C4, 0x15C6, 0x15C7, 0x15C8)),
    *((device, "X553 (X550EM_a)", _EMBEDDED) for device in (0x15CA, 0x15CC, 0x15CE, 0x15E4, 0x15E5)),
    *((device, "82598", _82598) for device in (0x10B6, 0x10C6, 0x10C7, 0x10C8, 0x10DB, 0x10DD, 0x10E1, 0x10EC)),
    *((device, "82598", _82598) for device in (0x10F1, 0x10F4, 0x1508, 0x150B)),
)
"""Related devices that are refused by name, and what is missing for them."""

REFUSALS: Final = tuple(Refusal(INTEL, *row) for row in REFUSED)


def known(vendor: int, device: int) -> DeviceId | None:
    """The accepted device with these ids, or None."""
    return next((one for one in ACCEPTED if vendor == INTEL and one.device == device), None)


def identify(function: Function, name: str) -> DeviceId:
    """The device behind `function`. Raises UsageError, which names it, for anything that is not accepted."""
    vendor, device = read_ids(function, name)
    found = known(vendor, device)
    if found is None:
        raise not_driven(function, name, (vendor, device), REFUSALS, MODELS)
    return found
