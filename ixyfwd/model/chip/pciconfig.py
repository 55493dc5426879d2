"""Configuration space as a card of this kind shows it (datasheet 9.3): 4 KiB, capabilities at fixed offsets."""

from collections.abc import Callable

CONFIG_BYTES = 4096
VENDOR_INTEL = 0x8086
MSIX_VECTORS = 64
MSIX_BAR = 4
MSIX_PBA_OFFSET = 0x2000
BAR0_BYTES = 512 * 1024
BAR4_BYTES = 16 * 1024

COMMAND = 0x04
COMMAND_WRITABLE = 0x0547  # I/O, memory, bus master, parity, SERR, INTx disable
COMMAND_BUS_MASTER = 1 << 2
COMMAND_INTX_DISABLE = 1 << 10
MSIX_CONTROL = 0xC000  # enabled, and all vectors masked
PM, MSI, MSIX, PCIE = 0x40, 0x50, 0x70, 0xA0
DEVICE_CONTROL = PCIE + 0x08
INITIATE_FLR = 1 << 15

# offset, size in bytes, value after reset, writable bits
_FIELDS = (
    (0x00, 2, VENDOR_INTEL, 0),
    (COMMAND, 2, 0, COMMAND_WRITABLE),
    (0x06, 2, 0x0010, 0),  # status: has capabilities
    (0x08, 4, 0x02000001, 0),  # Ethernet controller, revision 1
    (0x0C, 1, 0, 0xFF),  # cache line size
    (0x10, 4, 0x0000000C, ~(BAR0_BYTES - 1) & 0xFFFFFFFF),  # BAR0/1: 64 bits, prefetchable
    (0x14, 4, 0, 0xFFFFFFFF),
    (0x20, 4, 0x0000000C, ~(BAR4_BYTES - 1) & 0xFFFFFFFF),  # BAR4/5: 64 bits, prefetchable
    (0x24, 4, 0, 0xFFFFFFFF),
    (0x2C, 2, VENDOR_INTEL, 0),
    (0x2E, 2, 0x0003, 0),  # X520-2
    (0x34, 1, PM, 0),
    (0x3C, 1, 0, 0xFF),  # interrupt line
    (0x3D, 1, 1, 0),  # interrupt pin A
    (PM, 2, 0x01 | MSI << 8, 0),
    (PM + 2, 2, 0x0023, 0),  # version 3, DSI
    (PM + 4, 2, 0x0008, 0x0103),  # D0; no soft reset from D3
    (MSI, 2, 0x05 | MSIX << 8, 0),
    (MSI + 2, 2, 0x0180, 0x0071),  # 64-bit address, per-vector masking, one message
    (MSI + 4, 4, 0, 0xFFFFFFFC),
    (MSI + 8, 4, 0, 0xFFFFFFFF),
    (MSI + 12, 2, 0, 0xFFFF),
    (MSI + 16, 4, 0, 0x1),
    (MSIX, 2, 0x11 | PCIE << 8, 0),
    (MSIX + 2, 2, MSIX_VECTORS - 1, 0xC000),
    (MSIX + 4, 4, MSIX_BAR, 0),
    (MSIX + 8, 4, MSIX_PBA_OFFSET | MSIX_BAR, 0),
    (PCIE, 2, 0x10, 0),
    (PCIE + 2, 2, 0x0002, 0),  # version 2, endpoint
    (PCIE + 4, 4, 0x10008CC2, 0),  # function-level reset, 512-byte payload
    (DEVICE_CONTROL, 2, 0x2810, 0x7FFF),
    (PCIE + 0x0A, 2, 0, 0),  # device status: nothing pending
    (PCIE + 0x0C, 4, 0x00027482, 0),  # link: 5 GT/s, 8 lanes
    (PCIE + 0x10, 2, 0, 0x01FB),
    (PCIE + 0x12, 2, 0x1082, 0),  # link is at 5 GT/s, 8 lanes
    (PCIE + 0x24, 4, 0x0000001F, 0),  # completion timeout ranges
    (PCIE + 0x28, 2, 0, 0x001F),
    (PCIE + 0x30, 2, 0x0002, 0x001F),
)


class PciConfig:
    """Configuration space.

    `on_bus_master(on)` follows command bit 2; `on_reset()` runs when software asks for
    a function-level reset.
    """

    def __init__(self, device_id: int, on_bus_master: Callable[[bool], None], on_reset: Callable[[], None]) -> None:
        self._device_id = device_id
        self._on_bus_master = on_bus_master
        self._on_reset = on_reset
        self._values = bytearray(CONFIG_BYTES)
        self._writable = bytearray(CONFIG_BYTES)
        for offset, size, _, writable in _FIELDS:
            self._writable[offset : offset + size] = writable.to_bytes(size, "little")
        self._load()

    def _load(self) -> None:
        self._values[:] = bytes(CONFIG_BYTES)
        for offset, size, value, _ in _FIELDS:
            self._values[offset : offset + size] = value.to_bytes(size, "little")
        self._values[2:4] = self._device_id.to_bytes(2, "little")

    @property
    def bus_master(self) -> bool:
        """Whether the command register lets the function do DMA."""
        return bool(self._values[COMMAND] & COMMAND_BUS_MASTER)

    @property
    def intx_disabled(self) -> bool:
        """Whether the command register forbids INTx."""
        return bool(self._values[COMMAND + 1] & COMMAND_INTX_DISABLE >> 8)

    @property
    def msix_function_masked(self) -> bool:
        """Whether MSI-X is enabled and all its vectors are masked at once (Message Control, bits 15 and 14)."""
        return self._values[MSIX + 3] & MSIX_CONTROL >> 8 == MSIX_CONTROL >> 8

    def reset(self) -> None:
        """Return to the values after power-on; bus mastering is off."""
        self._load()
        self._on_bus_master(False)

    def read(self, offset: int, count: int) -> bytes:
        """Read `count` bytes of configuration space. Raises ValueError beyond its 4 KiB."""
        self._check(offset, count)
        return bytes(self._values[offset : offset + count])

    def write(self, offset: int, data: bytes) -> None:
        """Write to configuration space; only writable bits change. Raises ValueError beyond its 4 KiB."""
        self._check(offset, len(data))
        before = self.bus_master
        for at, byte in enumerate(data, offset):
            keep = self._values[at] & ~self._writable[at]
            self._values[at] = keep | byte & self._writable[at]
        if self.bus_master != before:
            self._on_bus_master(self.bus_master)
        high = DEVICE_CONTROL + 1
        if offset <= high < offset + len(data) and data[high - offset] & INITIATE_FLR >> 8:
            self._on_reset()

    def _check(self, offset: int, count: int) -> None:
        if offset < 0 or offset + count > CONFIG_BYTES:
            raise ValueError(f"an access of {count} bytes at {offset:#x} leaves the configuration space")
