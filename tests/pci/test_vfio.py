"""PCI functions through vfio-pci, with the kernel's part played by `FakeVfio`: sharing, address widths, refusals."""

import errno
import os
import resource
import select
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ixyfwd.errors import DeviceError, DeviceGoneError, IxyfwdError, RefusedError
from ixyfwd.pci.function import DmaMap, Function
from ixyfwd.pci.open import Opener
from ixyfwd.pci.physical import HUGEPAGE_BYTES
from ixyfwd.pci.vfio import VfioFunction
from ixyfwd.pci.vfio_abi import Request
from ixyfwd.pci.vfio_container import PREFERRED_IOVA, VfioContainer
from tests.testing.pci_fake import (
    BAR_BYTES,
    BUS_MASTER,
    CONFIG_AT,
    MEMORY,
    A,
    B,
    FakeVfio,
    add_device,
    add_group,
    no_room,
)

ARENA_BYTES = 3 * HUGEPAGE_BYTES


@pytest.fixture
def kernel(tmp_path: Path) -> FakeVfio:
    """Two functions, each in a group of its own, held by vfio-pci."""
    for number, address in enumerate((A, B), 7):
        add_device(tmp_path, address, "vfio-pci")
        add_group(tmp_path, number, address)
    return FakeVfio(tmp_path)


@pytest.fixture
def container(tmp_path: Path, kernel: FakeVfio) -> Iterator[VfioContainer]:
    found = VfioContainer(tmp_path, kernel)
    yield found
    found.close()


@pytest.fixture
def arena() -> Iterator[int]:
    fd = os.memfd_create("arena")
    os.ftruncate(fd, ARENA_BYTES)
    yield fd
    os.close(fd)


def _open(address: str, container: VfioContainer, kernel: FakeVfio) -> VfioFunction:
    return VfioFunction(address, container, kernel)


def _command(kernel: FakeVfio, address: str) -> int:
    return kernel.device_file(address).read_bytes()[CONFIG_AT + 4]


def test_registers_and_configuration_space(container: VfioContainer, kernel: FakeVfio) -> None:
    function: Function = _open(A, container, kernel)
    assert _command(kernel, A) == MEMORY
    assert function.read_config(0, 4) == 0x10FB8086
    function.write32(0x5200, 0xFFFFFFFF)
    assert function.read32(0x5200) == 0xFFFFFFFF
    assert kernel.device_file(A).read_bytes()[0x5200:0x5208] == b"\xff" * 4 + b"\0" * 4
    for offset in (2, -4, BAR_BYTES):
        with pytest.raises(ValueError, match="no register"):
            function.read32(offset)
    function.set_bus_master(True)
    assert _command(kernel, A) == MEMORY | BUS_MASTER
    function.reset()
    assert kernel.calls[-1] == Request.DEVICE_RESET
    assert _command(kernel, A) == MEMORY
    function.close()
    function.close()


def test_ports_share_one_address_space_and_the_memory_is_mapped_once(
    container: VfioContainer, kernel: FakeVfio, arena: int
) -> None:
    functions = [_open(address, container, kernel) for address in (A, B)]
    assert kernel.calls.count(Request.GROUP_SET_CONTAINER) == 2
    assert kernel.calls.count(Request.SET_IOMMU) == 1
    maps = [function.map_dma(arena, ARENA_BYTES) for function in functions]
    pages = tuple(PREFERRED_IOVA + HUGEPAGE_BYTES * page for page in range(3))
    assert maps == [DmaMap(HUGEPAGE_BYTES, pages)] * 2
    assert kernel.maps == {PREFERRED_IOVA: ARENA_BYTES}
    with pytest.raises(DeviceError, match="mapped for DMA already"):
        functions[0].map_dma(arena, ARENA_BYTES)
    functions[0].set_bus_master(True)
    with pytest.raises(RefusedError, match="bus mastering is on"):
        functions[0].unmap_dma()
    functions[0].set_bus_master(False)
    for function in functions:
        assert kernel.maps
        function.unmap_dma()
        function.unmap_dma()
        function.close()
    assert not kernel.maps


def test_two_ports_of_one_group(tmp_path: Path) -> None:
    for address in (A, B):
        add_device(tmp_path, address, "vfio-pci")
    add_group(tmp_path, 7, A, B)
    kernel = FakeVfio(tmp_path)
    container = VfioContainer(tmp_path, kernel)
    for address in (A, B):
        _open(address, container, kernel).close()
    assert kernel.calls.count(Request.GROUP_SET_CONTAINER) == 1
    container.close()


@pytest.mark.parametrize(
    ("ranges", "base"),
    [
        ((), PREFERRED_IOVA),
        (((0, 2**48 - 1),), PREFERRED_IOVA),
        (((0, 0xFEDFFFFF), (0xFEF00000, 2**32 - 1)), 0xFF000000),
        (((0, 0x1FFFFF), (0x1100001, 0x1FFFFFF)), 0x1200000),
    ],
)
def test_the_device_address_fits_the_iommu(
    container: VfioContainer, kernel: FakeVfio, arena: int, ranges: tuple[tuple[int, int], ...], base: int
) -> None:
    kernel.ranges = ranges
    function = _open(A, container, kernel)
    assert function.map_dma(arena, ARENA_BYTES).pages[0] == base
    function.close()


def test_an_arena_that_fits_nowhere(container: VfioContainer, kernel: FakeVfio, arena: int) -> None:
    kernel.ranges = ((0, 0x3FFFFF), (0x800000, 0xBFFFFF))
    function = _open(A, container, kernel)
    with pytest.raises(IxyfwdError, match=f"^{A}: the arena of 6 MiB fits into none of .*0x800000 to 0xbfffff.*fewer"):
        function.map_dma(arena, ARENA_BYTES)
    with pytest.raises(ValueError, match="not a multiple"):
        function.map_dma(arena, 4096)
    function.close()


def test_windows(container: VfioContainer, kernel: FakeVfio) -> None:
    function = _open(A, container, kernel)
    window = function.window(0x1018, 4)
    assert window is not None
    assert (window.file_offset, window.bar_offset, window.size) == (0, 0, BAR_BYTES)
    assert function.window(BAR_BYTES, 4) is None
    function.close()
    kernel.bar_flags = 3
    function = _open(A, container, kernel)
    assert function.window(0x1018, 4) is None
    function.close()


def test_interrupts(container: VfioContainer, kernel: FakeVfio) -> None:
    function = _open(A, container, kernel)
    assert function.interrupt_vectors() == 64
    kernel.calls.clear()
    function.set_interrupts(())  # nothing is on: nothing to end
    assert Request.DEVICE_SET_IRQS not in kernel.calls
    function.set_interrupts((7, 9))
    assert [*kernel.eventfds] == [7, 9]
    function.set_interrupts((5, 6, 8))
    assert [*kernel.eventfds] == [5, 6, 8]
    function.set_interrupts(())
    assert not kernel.eventfds
    kernel.refuse = {Request.DEVICE_SET_IRQS: errno.ENOSPC}
    with pytest.raises(DeviceError, match=f"^{A}: 2 MSI-X vectors cannot be switched on: No space left"):
        function.set_interrupts((7, 9))
    kernel.refuse = {}
    function.set_interrupts(())
    function.close()


def test_the_kernel_can_ask_for_the_device(container: VfioContainer, kernel: FakeVfio) -> None:
    function = _open(A, container, kernel)
    assert function.removal_fd == kernel.removal_fd >= 0
    os.eventfd_write(kernel.removal_fd, 1)
    assert select.select([function.removal_fd], [], [], 0)[0]
    function.close()
    assert function.removal_fd == -1
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(kernel.removal_fd)


def test_a_kernel_that_cannot_ask_for_the_device(container: VfioContainer, kernel: FakeVfio) -> None:
    kernel.refuse = {Request.DEVICE_SET_IRQS: errno.EINVAL}
    function = _open(A, container, kernel)
    assert function.removal_fd == -1
    function.close()


def test_a_group_that_others_use(container: VfioContainer, kernel: FakeVfio, tmp_path: Path) -> None:
    other = "0000:03:00.2"
    add_device(tmp_path, other, "e1000e")
    group = tmp_path / "sys/kernel/iommu_groups/7/devices"
    (group / other).symlink_to(tmp_path / "sys/bus/pci/devices" / other)
    kernel.viable = False
    with pytest.raises(RefusedError, match=rf"^{A} shares IOMMU group 7 with {other} \(driver e1000e\)"):
        _open(A, container, kernel)


@pytest.mark.parametrize("name", [None, "vfio-noiommu"])
def test_no_iommu(tmp_path: Path, name: str | None) -> None:
    add_device(tmp_path, A, "vfio-pci")
    if name is not None:
        add_group(tmp_path, 0, A, name=name)
    with pytest.raises(RefusedError, match=f"^{A} has no IOMMU.*noiommu.*ixyfwd bind {A} --driver none"):
        Opener(tmp_path).open(A)


def test_a_kernel_without_vfio(container: VfioContainer, kernel: FakeVfio, tmp_path: Path) -> None:
    kernel.version = 1
    with pytest.raises(IxyfwdError, match=r"vfio \(API 1\) offers no type 1 version 2 IOMMU"):
        _open(A, container, kernel)
    (tmp_path / "dev/vfio/vfio").unlink()
    with pytest.raises(IxyfwdError, match=r"there is no .*/dev/vfio/vfio; as root: modprobe vfio-pci"):
        _open(A, container, kernel)


@pytest.mark.parametrize(
    ("number", "kind", "says"),
    [
        (errno.EBUSY, RefusedError, "is in use by another process"),
        (errno.EACCES, IxyfwdError, r"cannot be opened: Permission denied; as root: chown"),
    ],
)
def test_a_group_file_that_does_not_open(  # noqa: PLR0917
    container: VfioContainer,
    kernel: FakeVfio,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    kind: type[IxyfwdError],
    says: str,
) -> None:
    real = os.open

    def refuse(path: Path, flags: int) -> int:
        if str(path).endswith("/vfio/7"):
            raise OSError(number, os.strerror(number))
        return real(path, flags)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(kind, match=says):
        _open(A, container, kernel)


@pytest.mark.parametrize(
    ("request_", "number", "kind", "says"),
    [
        (Request.GROUP_SET_CONTAINER, errno.EINVAL, DeviceError, "IOMMU group 7 cannot be joined.*Invalid argument"),
        (Request.SET_IOMMU, errno.EPERM, RefusedError, "without interrupt remapping.*allow_unsafe_interrupts"),
        (Request.GROUP_GET_DEVICE_FD, errno.ENODEV, DeviceError, "vfio does not give the device"),
        (Request.DEVICE_GET_INFO, errno.EINVAL, DeviceError, "the device cannot be described: Invalid argument"),
        (Request.DEVICE_GET_REGION_INFO, errno.ENODEV, DeviceGoneError, "region BAR0 cannot.*has left the bus"),
    ],
)
def test_what_the_kernel_refuses(  # noqa: PLR0917
    container: VfioContainer,
    kernel: FakeVfio,
    request_: Request,
    number: int,
    kind: type[IxyfwdError],
    says: str,
) -> None:
    kernel.refuse = {request_: number}
    with pytest.raises(kind, match=f"^{A}: .*{says}"):
        _open(A, container, kernel)
    kernel.refuse = {}
    _open(A, container, kernel).close()


def test_a_device_that_is_no_pci_device(container: VfioContainer, kernel: FakeVfio) -> None:
    kernel.device_flags = 1
    with pytest.raises(DeviceError, match="not a PCI device"):
        _open(A, container, kernel)


def test_memory_that_may_not_be_locked(
    container: VfioContainer, kernel: FakeVfio, arena: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = _open(A, container, kernel)
    kernel.refuse = no_room(Request.IOMMU_MAP_DMA)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64 << 10, 64 << 10))
    with pytest.raises(IxyfwdError, match=r"may lock 64 KiB \(RLIMIT_MEMLOCK\).*ulimit -l unlimited"):
        function.map_dma(arena, ARENA_BYTES)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    with pytest.raises(IxyfwdError, match="cannot be mapped for DMA by the IOMMU: Cannot allocate memory"):
        function.map_dma(arena, ARENA_BYTES)
    kernel.refuse = {}
    function.map_dma(arena, ARENA_BYTES)
    kernel.refuse = {Request.IOMMU_UNMAP_DMA: errno.EINVAL}
    with pytest.raises(DeviceError, match="the IOMMU mapping cannot be removed"):
        function.unmap_dma()
    function.close()


def test_a_reset_that_fails(container: VfioContainer, kernel: FakeVfio) -> None:
    function = _open(A, container, kernel)
    kernel.refuse = {Request.DEVICE_RESET: errno.EIO}
    with pytest.raises(DeviceGoneError, match=f"^{A}: the reset failed"):
        function.reset()
    function.close()


def test_a_device_that_has_left_the_bus(container: VfioContainer, kernel: FakeVfio) -> None:
    function = _open(A, container, kernel)
    path = kernel.device_file(A)
    path.write_bytes(b"\xff" * (CONFIG_AT + 256))
    assert function.read32(8) == 0xFFFFFFFF, "what all ones mean in a register is the driver's business"
    with pytest.raises(DeviceGoneError, match="configuration space reads all ones"):
        function.set_bus_master(False)
    function.close()
    with pytest.raises(DeviceGoneError, match="configuration space reads all ones"):
        _open(A, container, kernel)


def test_registers_that_the_kernel_bars(
    container: VfioContainer, kernel: FakeVfio, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = _open(A, container, kernel)

    def refuse(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", refuse)
        patch.setattr(os, "pwrite", refuse)
        for touch in (lambda: function.read32(8), lambda: function.write32(8, 0), lambda: function.read_config(0, 2)):
            with pytest.raises(DeviceGoneError, match="has left the bus"):
                touch()
        with pytest.raises(DeviceGoneError, match="written"):
            function.write_config(4, 2, 0)
    function.close()


def test_the_driver_decides_the_way(kernel: FakeVfio, tmp_path: Path) -> None:
    """An ordinary file is no container: what matters is that it was asked."""
    with Opener(tmp_path) as opener, suppress(OSError):
        opener.open(A)
    assert not kernel.calls
    assert not (tmp_path / "run").exists(), "vfio is a lock of its own"
