"""A machine made of files: PCI functions under tmp_path/sys, and the kernel's vfio as far as `pci` uses it."""

import errno
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ixyfwd.pci.vfio_abi import Request

A, B = "0000:03:00.0", "0000:03:00.1"
BAR_BYTES = 512 * 1024
CONFIG_AT = 0x10_0000
COMMAND = 4
BUS_MASTER, MEMORY = 4, 2


def add_device(root: Path, address: str, driver: str | None = None, **files: str) -> Path:
    """A function whose configuration space says 8086:10fb; `files` are further files of its folder. Its folder."""
    folder = root / "sys/bus/pci/devices" / address
    folder.mkdir(parents=True)
    (folder / "config").write_bytes(struct.pack("<HH", 0x8086, 0x10FB).ljust(256, b"\0"))
    with (folder / "resource0").open("wb") as bar:
        bar.truncate(BAR_BYTES)
    for name, text in files.items():
        (folder / name).write_text(text)
    if driver is not None:
        held = root / "sys/bus/pci/drivers" / driver
        held.mkdir(parents=True, exist_ok=True)
        (folder / "driver").symlink_to(held)
    return folder


def add_group(root: Path, number: int, *addresses: str, kind: str = "DMA", name: str | None = None) -> None:
    """An IOMMU group with these functions, and vfio's files for it."""
    group = root / "sys/kernel/iommu_groups" / str(number)
    (group / "devices").mkdir(parents=True)
    (group / "type").write_text(f"{kind}\n")
    if name is not None:
        (group / "name").write_text(f"{name}\n")
    for address in addresses:
        folder = root / "sys/bus/pci/devices" / address
        (folder / "iommu_group").symlink_to(group)
        (group / "devices" / address).symlink_to(folder)
    vfio = root / "dev/vfio"
    vfio.mkdir(parents=True, exist_ok=True)
    (vfio / "vfio").touch()
    (vfio / str(number)).touch()


def command_of(folder: Path) -> int:
    """The command register of a function made of files."""
    return int.from_bytes((folder / "config").read_bytes()[COMMAND : COMMAND + 2], "little")


@dataclass
class FakeVfio:
    """The system call. `refuse` makes requests fail; `calls` is what was asked, in order."""

    folder: Path
    ranges: tuple[tuple[int, int], ...] = ((0, 0xFEDFFFFF), (0xFEF00000, 2**39 - 1))
    viable: bool = True
    version: int = 0
    device_flags: int = 3
    bar_flags: int = 7 & ~8
    refuse: dict[Request, int] = field(default_factory=dict)
    calls: list[Request] = field(default_factory=list)
    maps: dict[int, int] = field(default_factory=dict)
    msix_vectors: int = 64
    eventfds: Sequence[int] = ()
    removal_fd: int = -1

    def __call__(self, fd: int, request: Request, argument: int | bytearray = 0) -> int:
        self.calls.append(request)
        os.fstat(fd)
        if request in self.refuse:
            raise OSError(self.refuse[request], os.strerror(self.refuse[request]))
        match request:
            case Request.GET_API_VERSION:
                return self.version
            case Request.CHECK_EXTENSION:
                return 1
            case Request.GROUP_GET_DEVICE_FD:
                return self._device(bytes(_structure(argument)).rstrip(b"\0").decode())
            case Request.GROUP_GET_STATUS:
                struct.pack_into("=I", _structure(argument), 4, int(self.viable))
            case Request.DEVICE_GET_INFO:
                struct.pack_into("=III", _structure(argument), 4, self.device_flags, 9, 5)
            case Request.DEVICE_GET_REGION_INFO:
                self._region(_structure(argument))
            case Request.DEVICE_GET_IRQ_INFO:
                assert struct.unpack("=IIII", _structure(argument)) == (16, 0, 2, 0)
                struct.pack_into("=IIII", _structure(argument), 0, 16, 9, 2, self.msix_vectors)
            case Request.DEVICE_SET_IRQS:
                self._set_irqs(bytes(_structure(argument)))
            case Request.IOMMU_GET_INFO:
                self._info(_structure(argument))
            case Request.IOMMU_MAP_DMA:
                _, _, vaddr, iova, size = struct.unpack("=IIQQQ", _structure(argument))
                assert vaddr % 4096 == 0
                self.maps[iova] = size
            case Request.IOMMU_UNMAP_DMA:
                _, _, iova, size = struct.unpack("=IIQQ", _structure(argument))
                assert self.maps.pop(iova) == size
        return 0

    def device_file(self, address: str) -> Path:
        """What stands behind a device's descriptor."""
        return self.folder / address

    def _device(self, address: str) -> int:
        path = self.device_file(address)
        if not path.exists():
            with path.open("wb") as file:
                file.truncate(CONFIG_AT)
                file.seek(CONFIG_AT)
                file.write(struct.pack("<HH", 0x8086, 0x10FB).ljust(256, b"\0"))
        return os.open(path, os.O_RDWR)

    def _region(self, asked: bytearray) -> None:
        index = struct.unpack_from("=I", asked, 8)[0]
        flags, size, offset = (self.bar_flags, BAR_BYTES, 0) if index == 0 else (3, 4096, CONFIG_AT)
        struct.pack_into("=IIIIQQ", asked, 0, 32, flags, index, 0, size, offset)

    def _set_irqs(self, asked: bytes) -> None:
        """As the kernel has it: what is not on cannot be switched off, nor what is on be sized again."""
        size, flags, index, start, count = struct.unpack_from("=IIIII", asked)
        if index == 4:
            assert (size, flags, start, count) == (len(asked), 0x24, 0, 1)
            (self.removal_fd,) = struct.unpack_from("=i", asked, 20)
            return
        assert (size, index, start) == (len(asked), 2, 0)
        if bool(count) == bool(self.eventfds):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        assert flags == (0x24 if count else 0x21)
        self.eventfds = struct.unpack_from(f"={count}i", asked, 20)

    def _info(self, asked: bytearray) -> None:
        if not self.ranges:
            return
        # Another capability first: the chain has to be followed.
        struct.pack_into("=IIQII", asked, 0, 24, 3, 0x1000, 32, 0)
        struct.pack_into("=HHI", asked, 32, 3, 1, 48)
        struct.pack_into("=HHIII", asked, 48, 1, 1, 0, len(self.ranges), 0)
        for index, run in enumerate(self.ranges):
            struct.pack_into("=QQ", asked, 64 + 16 * index, *run)


def _structure(argument: int | bytearray) -> bytearray:
    assert isinstance(argument, bytearray)
    return argument


def no_room(request: Request) -> dict[Request, int]:
    """`refuse` for a request that finds no memory."""
    return {request: errno.ENOMEM}
