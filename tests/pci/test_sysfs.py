"""PCI functions through /sys, on a machine made of files: every refusal, and what is left behind."""

import mmap
import os
import struct
from pathlib import Path

import pytest

from ixyfwd.errors import DeviceError, DeviceGoneError, IxyfwdError, RefusedError, UsageError
from ixyfwd.pci.function import Function
from ixyfwd.pci.lock import DeviceLock, orphans
from ixyfwd.pci.mmio import map_window, register_view, unmap_window
from ixyfwd.pci.open import Opener
from ixyfwd.pci.physical import HUGEPAGE_BYTES, physical_pages
from ixyfwd.pci.sysfs import SysfsFunction, quiet_orphans
from ixyfwd.pci.tree import numa_node
from tests.testing.pci_fake import BAR_BYTES, BUS_MASTER, MEMORY, A, B, add_device, add_group, command_of


class _HugeFile:
    """A file of the test's that claims to be made of hugepages, and a pagemap that knows where they are."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, entries: list[int]) -> None:
        self.fd = os.memfd_create("arena")
        os.ftruncate(self.fd, len(entries) * HUGEPAGE_BYTES)
        found = os.fstat

        def claimed(fd: int) -> os.stat_result:
            stat = found(fd)
            return os.stat_result((*stat[:10],), {"st_blksize": HUGEPAGE_BYTES}) if fd == self.fd else stat

        monkeypatch.setattr(os, "fstat", claimed)
        (root / "proc/self").mkdir(parents=True)
        with (root / "proc/self/pagemap").open("wb") as pagemap:
            for index, entry in enumerate(entries):
                pagemap.seek(index * HUGEPAGE_BYTES // 4096 * 8)
                pagemap.write(struct.pack("=Q", entry))

    def pages(self, root: Path) -> tuple[int, ...]:
        """Through a mapping that begins at 0 for the pagemap."""
        return physical_pages(self.fd, os.lseek(self.fd, 0, os.SEEK_END), root, _at_zero)


def _at_zero(_: mmap.mmap) -> int:
    return 0


def test_a_free_device_is_opened_quiet_and_read_and_written(tmp_path: Path) -> None:
    folder = add_device(tmp_path, A)
    os.pwrite(fd := os.open(folder / "config", os.O_RDWR), b"\x04\x00", 4)
    os.close(fd)
    function: Function = Opener(tmp_path).open(A)
    assert command_of(folder) == MEMORY, "what the last user left of bus mastering is gone"
    assert function.read_config(0, 4) == 0x10FB8086
    function.write_config(0x3C, 1, 0x5A)
    assert function.read_config(0x3C, 1) == 0x5A
    function.write32(0x5200, 0xFFFFFFFF)
    assert function.read32(0x5200) == 0xFFFFFFFF
    for offset in (2, -4, BAR_BYTES):
        with pytest.raises(ValueError, match="no register"):
            function.read32(offset)
    with pytest.raises(ValueError, match="no aligned configuration word"):
        function.read_config(255, 2)
    function.set_bus_master(True)
    assert command_of(folder) == MEMORY | BUS_MASTER
    with pytest.raises(RefusedError, match="bus mastering is on"):
        function.unmap_dma()
    function.close()
    function.close()
    assert command_of(folder) == MEMORY, "closed is quiet"


def test_a_worker_maps_one_page_of_the_bar_by_an_inherited_descriptor(tmp_path: Path) -> None:
    add_device(tmp_path, A)
    function = SysfsFunction(A, tmp_path)
    window = function.window(0x1018, 4)
    assert window is not None
    assert (window.file_offset, window.bar_offset, window.size) == (0, 0, BAR_BYTES)
    view = map_window(window)
    register = register_view(view, window, 0x1018)
    register[0] = 77
    assert function.read32(0x1018) == 77
    register.release()
    unmap_window(view)
    assert function.window(BAR_BYTES, 4) is None
    function.close()


def test_reset_leaves_the_device_quiet(tmp_path: Path) -> None:
    folder = add_device(tmp_path, A, reset="")
    function = SysfsFunction(A, tmp_path)
    function.set_bus_master(True)
    function.reset()
    assert (folder / "reset").read_text() == "1"
    assert command_of(folder) == MEMORY
    (folder / "reset").unlink()
    function.reset()
    (folder / "reset").mkdir()
    with pytest.raises(DeviceError, match=f"^{A}: the reset by .*/reset failed: Is a directory"):
        function.reset()
    function.close()


@pytest.mark.parametrize(
    ("driver", "files", "group", "says"),
    [
        ("ixgbe", {}, None, f"held by the kernel's driver ixgbe; free it: ixyfwd bind {A}"),
        (None, {"sriov_numvfs": "4"}, None, "has 4 virtual functions enabled.*sriov_numvfs"),
        (None, {}, "DMA-FQ", "behind an IOMMU that translates.*vfio-pci"),
    ],
)
def test_refusals(tmp_path: Path, driver: str | None, files: dict[str, str], group: str | None, says: str) -> None:
    add_device(tmp_path, A, driver, **files)
    if group is not None:
        add_group(tmp_path, 7, A, kind=group)
    with pytest.raises(RefusedError, match=f"^{A} .*{says}"):
        Opener(tmp_path).open(A)


def test_uio_and_an_iommu_that_passes_everything_through_are_no_hindrance(tmp_path: Path) -> None:
    add_device(tmp_path, A, "uio_pci_generic", sriov_numvfs="0")
    add_group(tmp_path, 7, A, kind="identity")
    SysfsFunction(A, tmp_path).close()


def test_devices_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"^{A}: the kernel knows no PCI device"):
        Opener(tmp_path).open(A)
    with pytest.raises(UsageError, match=r"^the device address '03:00' is of an unknown kind"):
        Opener(tmp_path).open("03:00")


def test_a_device_that_has_left_the_bus(tmp_path: Path) -> None:
    folder = add_device(tmp_path, A)
    function = SysfsFunction(A, tmp_path)
    (folder / "config").write_bytes(b"\xff" * 256)
    with pytest.raises(DeviceGoneError, match=f"^{A}: configuration space reads all ones.*left the bus"):
        function.set_bus_master(True)
    moved = folder.rename(folder.with_name("gone"))
    with pytest.raises(DeviceGoneError, match="the kernel has removed the device"):
        function.read32(8)
    with pytest.raises(DeviceGoneError, match="the kernel has removed the device"):
        function.write32(8, 0)
    function.close()
    moved.rename(folder)
    with pytest.raises(DeviceGoneError, match="left the bus"):
        SysfsFunction(A, tmp_path)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    folder = add_device(tmp_path, A)
    (folder / "resource0").write_bytes(b"")
    with pytest.raises(DeviceError, match=f"^{A}: BAR0 cannot be mapped"):
        SysfsFunction(A, tmp_path)
    (folder / "resource0").unlink()
    with pytest.raises(IxyfwdError, match=r"resource0 cannot be opened: No such file.*lockdown"):
        SysfsFunction(A, tmp_path)
    (folder / "config").write_bytes(b"")
    with pytest.raises(DeviceError, match="0 of 2 bytes of configuration space at 0x4 were read"):
        SysfsFunction(A, tmp_path)


def test_one_user_at_a_time(tmp_path: Path) -> None:
    add_device(tmp_path, A)
    first = SysfsFunction(A, tmp_path)
    with pytest.raises(RefusedError, match=rf"^{A} is in use by pid {os.getpid()} \("):
        SysfsFunction(A, tmp_path)
    assert (tmp_path / f"run/ixyfwd/{A}.lock").stat().st_mode & 0o777 == 0o600
    first.close()
    SysfsFunction(A, tmp_path).close()


def test_a_lock_that_cannot_be_had(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("no folder")
    with pytest.raises(IxyfwdError, match=r"the lock .* cannot be taken: Not a directory"):
        DeviceLock(A, tmp_path)


def _killed(root: Path, address: str) -> None:
    """As a holder leaves it that was killed."""
    (root / "run/ixyfwd").mkdir(parents=True, exist_ok=True)
    (root / f"run/ixyfwd/{address}.lock").write_text("pid 1 (ixyfwd)\n")


def test_the_devices_of_a_killed_run_are_silenced(tmp_path: Path) -> None:
    folders = [add_device(tmp_path, address) for address in (A, B)]
    for folder in folders:
        (folder / "config").write_bytes(b"\x86\x80\xfb\x10\x06\x00".ljust(256, b"\0"))
        _killed(tmp_path, folder.name)
    live = SysfsFunction(B, tmp_path)
    live.set_bus_master(True)
    assert orphans(tmp_path) == [A]
    assert quiet_orphans(tmp_path) == [A]
    assert command_of(folders[0]) == MEMORY
    assert command_of(folders[1]) == MEMORY | BUS_MASTER, "a device in use is left alone"
    assert quiet_orphans(tmp_path) == []
    live.close()
    assert orphans(tmp_path) == []


def test_orphans_that_are_somebody_elses_or_gone(tmp_path: Path) -> None:
    folder = add_device(tmp_path, A, "ixgbe")
    (folder / "config").write_bytes(b"\x86\x80\xfb\x10\x06\x00".ljust(256, b"\0"))
    _killed(tmp_path, A)
    _killed(tmp_path, B)
    _killed(tmp_path, "0000:04:00.0")
    add_device(tmp_path, "0000:04:00.0")
    (tmp_path / "sys/bus/pci/devices/0000:04:00.0/config").write_bytes(b"\xff" * 256)
    assert quiet_orphans(tmp_path) == ["0000:04:00.0"], "a device that left the bus is silent"
    assert command_of(folder) == MEMORY | BUS_MASTER


@pytest.mark.parametrize(("text", "node"), [("1\n", 1), ("0\n", 0), ("-1\n", None), ("", None)])
def test_numa_node(tmp_path: Path, text: str, node: int | None) -> None:
    add_device(tmp_path, A, numa_node=text)
    assert numa_node(A, tmp_path) == node


def test_every_page_has_an_address_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    present = 1 << 63
    file = _HugeFile(tmp_path, monkeypatch, [present | 0x5200, present | 1 << 61 | 0x1234000, present | 0x5000])
    assert file.pages(tmp_path) == (0x5200 << 12, 0x1234000 << 12, 0x5000 << 12)
    os.close(file.fd)


@pytest.mark.parametrize(("entry", "says"), [(1 << 63, r"CAP_SYS_ADMIN"), (0x5200, "is not in memory")])
def test_addresses_that_the_kernel_does_not_tell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: int, says: str
) -> None:
    file = _HugeFile(tmp_path, monkeypatch, [entry])
    with pytest.raises(IxyfwdError, match=says):
        file.pages(tmp_path)
    os.close(file.fd)


def test_ordinary_pages_are_refused(tmp_path: Path) -> None:
    add_device(tmp_path, A)
    function = SysfsFunction(A, tmp_path)
    fd = os.memfd_create("arena")
    os.ftruncate(fd, HUGEPAGE_BYTES)
    with pytest.raises(RefusedError, match=f"^{A}: the arena is made of ordinary pages"):
        function.map_dma(fd, HUGEPAGE_BYTES)
    with pytest.raises(ValueError, match="not a multiple"):
        function.map_dma(fd, 4096)
    function.unmap_dma()
    os.close(fd)
    function.close()


def test_no_interrupts(tmp_path: Path) -> None:
    add_device(tmp_path, A)
    function = Opener(tmp_path).open(A)
    assert function.interrupt_vectors() == 0
    function.set_interrupts(())
    with pytest.raises(RefusedError, match=f"^{A}: interrupts are not delivered through sysfs; use vfio-pci"):
        function.set_interrupts((7,))
    function.close()
