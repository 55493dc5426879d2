"""Known faults of the chips, with the source of each and what ixyfwd does about it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ixyfwd.nic.ixgbe.ids import DeviceId, Media


@dataclass(frozen=True)
class Erratum:
    """A known fault. chips: mac types that have it; media: only with these, None: all. handling: ixyfwd's answer."""

    name: str
    chips: tuple[str, ...]
    media: Media | None
    what: str
    handling: str
    source: str


ERRATA: Final = (
    Erratum(
        "UDP checksum 0", ("82599",), None,
        "UDP frames with checksum 0 may be reported as checksum errors",
        "checksum results are not used",
        "Linux, ixgbe_main.c ixgbe_rx_checksum; 82599 specification update",
    ),
    Erratum(
        "master disable", ("82599", "X540", "X550"), None,
        "requests to memory may stay pending after a master disable",
        "the data path is flushed and the port is reset twice",
        "82599 datasheet 5.2.5.3.2; Linux, ixgbe_disable_pcie_master",
    ),
    Erratum(
        "link on an empty cage", ("82599",), Media.SFP,
        "LINKS may show a link that is crosstalk of the neighbour's",
        "the cage is looked at before LINKS, and a new link is read again after 5 ms",
        "DPDK dd3a93cf5a, c377d4151b",
    ),
    Erratum(
        "link only after several starts", ("82599",), Media.SFP,
        "some cards get their link only after a pipeline reset or repeated initialisation",
        "the set-up of a link that stays down is repeated",
        "Snabb issues 373, 240, 1142; Linux, ixgbe_reset_pipeline_82599",
    ),
    Erratum(
        "firmware before patch 6", ("82599",), Media.SFP,
        "firmware of patch version 5 and older disturbs the link of SFP+ ports",
        "nothing: the version is shown above",
        "Linux, ixgbe_verify_fw_version_82599",
    ),
    Erratum(
        "PHY left in low power", ("X540", "X550"), None,
        "a PHY that another driver left in low power has no link, across resets",
        "bring-up switches the PHY on",
        "Linux 3c2f2b77a917; DPDK d27a7e4e0b, 2aeac71a5a",
    ),
    Erratum(
        "firmware error indication", ("X550",), None,
        "FWSM may indicate an error (0x0118801F, 0x8118801B) on cards that work",
        "a notice; only the recovery mode of an X550 is refused",
        "DPDK 5fb0a9acbb; Intel's ixgbe_check_fw_error",
    ),
)  # fmt: skip


def mac_type(device: DeviceId) -> str:
    """The chip behind a device id: 82599, X540 or X550."""
    if device.media is not Media.COPPER:
        return "82599"
    return "X550" if device.multi_gigabit else "X540"


def errata_of(device: DeviceId) -> Iterator[Erratum]:
    """The known faults of a device."""
    chip = mac_type(device)
    return (one for one in ERRATA if chip in one.chips and one.media in {None, device.media})
