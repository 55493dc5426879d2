"""The PCI function behind a vfio-user socket: what the driver and the workers get to see."""

import mmap
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from ixyfwd.errors import DeviceError, DeviceGoneError, IxyfwdError, RefusedError, UsageError
from ixyfwd.model.spec import ModelSpec
from ixyfwd.pci.function import Function, Window
from ixyfwd.pci.mmio import map_window, register_view, unmap_window
from ixyfwd.pci.open import open_function
from tests.testing.model_fakes import FakeDatapath, FakePort, running_model
from tests.testing.support import eventually

ARENA_BYTES = 6 << 20
RDT3 = 0x10D8
TDT127 = 0x7FD8


@pytest.fixture
def model(tmp_path: Path) -> Iterator[tuple[FakeDatapath, ModelSpec]]:
    with running_model(tmp_path) as found:
        yield found


@pytest.fixture
def port(model: tuple[FakeDatapath, ModelSpec]) -> FakePort:
    return model[0].ports[0]


@pytest.fixture
def function(model: tuple[FakeDatapath, ModelSpec]) -> Iterator[Function]:
    found = open_function(f"vfio-user:{model[1].ports[0].socket}")
    yield found
    found.close()


@pytest.fixture
def arena() -> Iterator[int]:
    fd = os.memfd_create("arena")
    os.ftruncate(fd, ARENA_BYTES)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("address", ["sim:p0", "", "/dev/vfio/7", "VFIO-USER:/x"])
def test_other_kinds_of_address(address: str) -> None:
    with pytest.raises(UsageError, match=f"{address!r} is of an unknown kind; .*vfio-user:/"):
        open_function(address)


def test_addresses_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no path"):
        open_function("vfio-user:")
    with pytest.raises(UsageError, match=f"^vfio-user:{tmp_path}/none: there is no socket"):
        open_function(f"vfio-user:{tmp_path}/none")


def test_a_busy_device(function: Function) -> None:
    with pytest.raises(RefusedError, match=f"^{function.address} is in use"):
        open_function(function.address)


def test_configuration_space(function: Function) -> None:
    assert function.read_config(0, 4) == 0x10FB8086
    assert (function.read_config(2, 2), function.read_config(0x0B, 1)) == (0x10FB, 2)
    function.write_config(0x3C, 1, 0x5A)
    assert function.read_config(0x3C, 1) == 0x5A
    assert function.read_config(4, 2) & 2, "memory decoding is on as soon as the function is open"
    for offset, size in ((1, 2), (0, 3), (4096, 1), (-4, 4)):
        with pytest.raises(ValueError, match="no aligned configuration word"):
            function.read_config(offset, size)


def test_registers(function: Function) -> None:
    function.write32(0x5200, 0xFFFFFFFF)
    assert function.read32(0x5200) == 0xFFFFFFFF, "all ones are the driver's to interpret"
    for offset in (2, -4, 512 * 1024):
        with pytest.raises(ValueError, match="no register"):
            function.read32(offset)
        with pytest.raises(ValueError, match="no register"):
            function.write32(offset, 0)


def test_registers_in_doorbell_pages_are_trapped(function: Function, port: FakePort) -> None:
    function.write32(0x1028, 1 << 25)
    assert function.read32(0x1028) == 1 << 25
    assert port.running == {("rx", 0)}
    function.write32(0x1018, 9)
    assert function.read32(0x1018) == 9
    assert ("tail", "rx", 0) in port.calls


def test_bus_master(function: Function, port: FakePort) -> None:
    function.set_bus_master(True)
    assert port.bus_master
    function.set_bus_master(False)
    assert not port.bus_master
    assert function.read_config(4, 2) & 2


def test_dma(function: Function, port: FakePort, arena: int) -> None:
    dma = function.map_dma(arena, ARENA_BYTES)
    assert dma.page_bytes == 2 << 20
    assert len(dma.pages) == 3
    ((base, size),) = port.maps
    assert (base % dma.page_bytes, size) == (0, ARENA_BYTES)
    assert port.maps[base, size] == (0, True, True)
    assert [dma.address(at) for at in (0, 4097, ARENA_BYTES - 1)] == [base, base + 4097, base + ARENA_BYTES - 1]
    with pytest.raises(DeviceError, match="mapped for DMA already"):
        function.map_dma(arena, ARENA_BYTES)
    function.set_bus_master(True)
    with pytest.raises(RefusedError, match="bus mastering is on"):
        function.unmap_dma()
    function.set_bus_master(False)
    function.unmap_dma()
    function.unmap_dma()
    assert not port.maps


def test_the_address_of_memory_is_the_same_at_every_port(model: tuple[FakeDatapath, ModelSpec], arena: int) -> None:
    functions = [open_function(f"vfio-user:{port.socket}") for port in model[1].ports]
    assert functions[0].map_dma(arena, ARENA_BYTES) == functions[1].map_dma(arena, ARENA_BYTES)
    for function in functions:
        function.close()


@pytest.mark.parametrize("size", [0, -4096, 5000])
def test_sizes_that_cannot_be_mapped(function: Function, arena: int, size: int) -> None:
    with pytest.raises(ValueError, match="whole 4 KiB pages"):
        function.map_dma(arena, size)


def test_more_than_the_file_holds(function: Function, arena: int) -> None:
    with pytest.raises(IxyfwdError, match=f"{function.address}: the server refused DMA_MAP"):
        function.map_dma(arena, 2 * ARENA_BYTES)
    function.map_dma(arena, ARENA_BYTES)


def test_windows(function: Function) -> None:
    found = [function.window(offset, 4) for offset in (0x1018, 0x1FD8, 0x6018, TDT127, 0xD018)]
    assert all(found)
    assert [(w.bar_offset, w.size) for w in found if w] == [
        *((0x1000, 0x1000), (0x1000, 0x1000), (0x6000, 0x2000), (0x6000, 0x2000), (0xD000, 0x1000))
    ]
    for offset, size in ((0, 4), (0x2000, 4), (0x1FFE, 4), (0x5FFC, 8), (0xE000, 4)):
        assert function.window(offset, size) is None


def test_no_windows_without_an_offer(tmp_path: Path) -> None:
    with running_model(tmp_path, offer_mmap=False) as (_, spec):
        function = open_function(f"vfio-user:{spec.ports[0].socket}")
        assert function.window(0x1018, 4) is None
        function.close()


@pytest.mark.parametrize("offset", [0x1018, RDT3, 0x1FD8, 0x6018, TDT127, 0xDFD8])
def test_a_store_through_the_window_is_the_register(function: Function, port: FakePort, offset: int) -> None:
    window = function.window(offset, 4)
    assert window is not None
    view = map_window(window)
    bell = register_view(view, window, offset)
    before = bytes(port.store)
    bell[0] = 0xA5B6C7D8
    after = bytes(port.store)
    assert after[offset : offset + 4] == bytes.fromhex("d8c7b6a5")
    assert after[:offset] == before[:offset]
    assert after[offset + 4 :] == before[offset + 4 :]
    assert function.read32(offset) == bell[0] == 0xA5B6C7D8
    assert bell.itemsize == 4
    assert bell.format == "I"
    bell.release()
    unmap_window(view)


def test_register_views_stay_in_their_window() -> None:
    window = Window(0, 0, 0x1000, 0x1000)
    view = memoryview(bytearray(0x1000)).cast("I")
    for offset in (0xFFC, 0x2000, 0x1001):
        with pytest.raises(ValueError, match="no register"):
            register_view(view, window, offset)


def mappings() -> int:
    """Mappings of model registers in this process."""
    return Path("/proc/self/maps").read_text().count("memfd:fake-")


def test_a_window_that_is_still_in_use_is_not_unmapped(function: Function) -> None:
    window = function.window(0x1018, 4)
    assert window is not None
    before = mappings()
    view = map_window(window)
    bell = register_view(view, window, 0x1018)
    with pytest.raises(BufferError):
        unmap_window(view)
    bell[0] = 3
    assert mappings() == before + 1
    bell.release()
    assert mappings() == before


def test_a_window_that_cannot_be_mapped() -> None:
    fd = os.memfd_create("small")
    with pytest.raises(DeviceError, match=r"0x1000 bytes at BAR0 \+ 0x6000 cannot be mapped"):
        map_window(Window(fd, 0, 0x6000, mmap.PAGESIZE))
    os.close(fd)


def test_a_window_outlives_the_connection_without_harm(function: Function, port: FakePort) -> None:
    """A worker may still hold its doorbells when the supervisor has let go."""
    window = function.window(0x1018, 4)
    assert window is not None
    view = map_window(window)
    port.calls.clear()
    function.close()
    function.close()
    eventually(lambda: ("unmap_all",) in port.calls, "the server notices")
    view[0x18 // 4] = 5
    unmap_window(view)


def test_reset(function: Function, port: FakePort) -> None:
    function.set_bus_master(True)
    function.write32(0x5200, 5)
    function.reset()
    assert function.read32(0x5200) == 0
    assert not port.bus_master
    assert function.read_config(4, 2) & 2


def test_interrupts(function: Function, port: FakePort) -> None:
    """20 vectors: more than fit into one message. A message is what EICS asks for."""
    fds = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(20)]
    assert function.interrupt_vectors() == 64
    function.set_interrupts(fds)
    function.write32(0x898, 1 << 4)  # GPIE: MSI-X
    function.write32(0xAA0, 0xFFFFFFFF)  # EIMS_EX(0)
    function.write32(0xA90, 1 << 19 | 1)  # EICS_EX(0)
    eventually(lambda: select.select(fds, [], [], 0)[0] == [fds[0], fds[19]], "vectors 0 and 19 sent a message")
    for fd in (fds[0], fds[19]):
        assert os.eventfd_read(fd) == 1
    function.set_interrupts(fds[:1])
    function.write32(0xA90, 1 << 19 | 1)
    eventually(lambda: select.select(fds, [], [], 0)[0] == fds[:1], "vector 0 sent a message")
    function.set_interrupts(())
    function.write32(0xA90, 1)
    assert function.read32(0) >= 0
    assert os.eventfd_read(fds[0]) == 1
    assert not select.select(fds, [], [], 0)[0]
    for fd in fds:
        os.close(fd)


def test_closed_functions_say_so(function: Function) -> None:
    function.close()
    with pytest.raises(DeviceGoneError, match=f"{function.address}: REGION_READ cannot be sent.*it was closed"):
        function.read32(0)
    assert function.window(0x1018, 4) is None


def test_a_server_that_dies(tmp_path: Path) -> None:
    with running_model(tmp_path) as (_, spec):
        function = open_function(f"vfio-user:{spec.ports[0].socket}")
    with pytest.raises(DeviceGoneError, match=f"^{function.address}: the server closed the connection"):
        for _ in range(2):
            function.write32(0x5200, 1)
            function.read32(0x5200)
    function.close()
    with pytest.raises(UsageError, match="there is no socket"):
        open_function(function.address)
