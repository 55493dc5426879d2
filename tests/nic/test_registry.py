"""Families: how they are found, which one opens a device, what their limits come to together and for each port."""

from dataclasses import replace

import pytest

from ixyfwd.errors import DeviceGoneError, UsageError
from ixyfwd.memory.layout import BUFFER_DATA_BYTES, RING_ALIGN_BYTES, RingFormat, compute_layout
from ixyfwd.nic import registry
from ixyfwd.nic.check import check_limits
from ixyfwd.nic.contract import (
    Chip,
    Family,
    NicPort,
    PciDevices,
    QueueView,
    Refusal,
    RegisterDoorbell,
    RingView,
    Scheme,
)
from ixyfwd.nic.ixgbe.descriptors import DESCRIPTOR_BYTES
from ixyfwd.nic.ixgbe.device import Ixgbe
from ixyfwd.nic.ixgbe.family import FAMILY
from ixyfwd.nic.ixgbe.limits import LIMITS
from ixyfwd.nic.limits import Limits, widest, widest_of
from ixyfwd.nic.options import PortOptions
from ixyfwd.nic.rss import RssOptions
from ixyfwd.nic.words import either
from ixyfwd.pci.function import Function, Window
from tests.testing.driver_fake import FakeFunction

VIRTUAL = 0x10ED
TDH0, RDH0 = 0x6010, 0x1010

SMALL = Limits(
    family="small",
    queues=4,
    reta_sizes=(64,),
    ring_sizes=(32, 256, 512),
    max_frame_bytes=1518,
    mac_filters=3,
    interrupt_interval_us=50,
    buffer_bytes=2048,
    ring=RingFormat(entry_bytes=26, extra_bytes=12, align_bytes=16),
    schemes=("small:",),
)


def function_with(vendor: int, device: int) -> Function:
    return FakeFunction(vendor=vendor, device=device)


def small_port(function: Function, name: str) -> NicPort:
    class Small(Ixgbe):
        @property
        def limits(self) -> Limits:
            return SMALL

    return Small(function, name)


def small_family(*chips: Chip) -> Family:
    def by_address(address: str, name: str) -> NicPort:
        function = FakeFunction()
        function.address = address
        return small_port(function, name)

    return Family("small", SMALL, PciDevices(("Small",), chips, (), small_port), Scheme("small:", by_address))


@pytest.fixture
def two_families(monkeypatch: pytest.MonkeyPatch) -> None:
    drives = small_family(Chip(0x8086, VIRTUAL, "82599 virtual function", 64))
    monkeypatch.setattr(registry, "families", lambda: (FAMILY, drives))


def test_families_are_found_by_their_folders() -> None:
    assert [family.name for family in registry.families()] == ["ixgbe"]
    assert all(family.limits.family == family.name for family in registry.families())
    assert registry.families() is registry.families()


def test_no_device_belongs_to_two_families() -> None:
    ids = [(chip.vendor, chip.device) for chip in registry.chips()]
    assert len(set(ids)) == len(ids) > 0


def test_a_family_opens_its_devices_without_touching_them() -> None:
    function = FakeFunction()
    port = registry.open_port("0000:03:00.0", "p0", lambda _: function)
    assert isinstance(port, Ixgbe) and port.attachment is function
    assert function.writes() == []


def test_names_are_those_of_driven_and_refused_devices() -> None:
    assert registry.name_of(0x8086, 0x10FB) == "82599 SFP+"
    assert registry.name_of(0x8086, VIRTUAL) == "82599 virtual function"
    assert registry.name_of(0x1AF4, 0x10FB) == ""
    found = registry.chip_of(0x8086, 0x1563)
    assert found is not None and found.reta_entries == 512
    assert registry.chip_of(0x8086, VIRTUAL) is None


@pytest.mark.parametrize(
    ("vendor", "device", "error", "words"),
    [
        (0x8086, VIRTUAL, UsageError, "is an 82599 virtual function .8086:10ed., which is not supported: .* mailbox"),
        (0x1AF4, 0x1041, UsageError, "is 1af4:1041, which is not an 82599, X540 or X550; `ixyfwd devices`"),
        (0xFFFF, 0xFFFF, DeviceGoneError, "there is no device at this address"),
    ],
)
def test_a_device_of_no_family_is_refused_and_let_go(
    vendor: int, device: int, error: type[Exception], words: str
) -> None:
    function = function_with(vendor, device)
    closed: list[bool] = []
    function.close = lambda: closed.append(True)  # type: ignore[method-assign]
    with pytest.raises(error, match=f"port p7 .*{words}"):
        registry.open_port("0000:03:00.0", "p7", lambda _: function)
    assert closed == [True]


@pytest.mark.usefixtures("two_families")
def test_a_family_that_drives_a_device_wins_over_one_that_refuses_it() -> None:
    port = registry.open_port("0000:03:00.0", "p0", lambda _: function_with(0x8086, VIRTUAL))
    assert port.limits is SMALL
    with pytest.raises(UsageError, match="not an 82599, X540, X550 or Small"):
        registry.open_port("0000:03:00.0", "p0", lambda _: function_with(0x8086, 0x1234))


@pytest.mark.usefixtures("two_families")
def test_an_address_of_a_familys_own_scheme_needs_no_function() -> None:
    def never(_: str) -> Function:
        raise AssertionError("no PCI function is opened")

    port = registry.open_port("small:x", "p0", never)
    assert (port.limits, port.attachment.address) == (SMALL, "small:x")


# Limits


def test_the_widest_limits_of_one_family_are_its_own() -> None:
    assert widest() == replace(LIMITS, family="any")


def test_the_widest_limits_do_for_every_family() -> None:
    both = widest_of([LIMITS, SMALL])
    assert (both.queues, both.mac_filters, both.max_frame_bytes) == (16, 127, 9728)
    assert both.reta_sizes == (64, 128, 512)
    assert both.ring_sizes == (32, *LIMITS.ring_sizes)
    assert both.ring == RingFormat(26, 12, 128)
    assert both.schemes == ("small:",)


def test_the_arena_is_made_for_these_limits() -> None:
    assert LIMITS.ring == RingFormat() == RingFormat(DESCRIPTOR_BYTES, 0, RING_ALIGN_BYTES)
    assert widest().buffer_bytes <= BUFFER_DATA_BYTES


@pytest.mark.parametrize("ring", [RingFormat(), RingFormat(32, 0, 128), SMALL.ring, RingFormat(26, 12, 4096)])
def test_rings_of_any_format_have_their_room(ring: RingFormat) -> None:
    layout = compute_layout(ports=2, workers=2, ring_size=256, buffers_per_worker=2000, ring_format=ring)
    for worker in layout.workers:
        for found in (*worker.rx, *worker.tx):
            assert found.descriptors % ring.align_bytes == 0
            assert found.ids >= found.descriptors + ring.bytes_for(256)


@pytest.mark.parametrize(
    ("options", "entries", "interval_us", "words"),
    [
        (PortOptions(rss=RssOptions(queues=5)), 512, None, r"\[cpu\] workers: found 5, expected at most 4 workers"),
        (PortOptions(max_frame_bytes=1519), 512, None, r"\[forward\] max_frame: found 1519, expected at most 1518"),
        (PortOptions(mac_filters=("02:00:00:00:00:01",) * 4), 512, None, "mac_filters: found 4, expected at most 3"),
        (PortOptions(), 1024, None, r"\[forward\] ring_size: found 1024, expected 32, 256 or 512 .small."),
        (PortOptions(), 512, 100, r"interrupt_interval_us: found 100, expected at most 50 microseconds .small."),
    ],
)
def test_a_port_is_held_to_its_own_familys_limits(
    options: PortOptions, entries: int, interval_us: int | None, words: str
) -> None:
    function = FakeFunction()
    with pytest.raises(UsageError, match=f"port p0 .localhost:fake.: .*{words}"):
        check_limits(small_port(function, "p0"), options, entries, interval_us)
    assert function.log == []
    check_limits(Ixgbe(function, "p0"), options, entries, interval_us)


@pytest.mark.parametrize(("words", "text"), [(["a"], "a"), (["a", "b"], "a or b"), ((1, 2, 3), "1, 2 or 3"), ([], "")])
def test_alternatives_in_a_sentence(words: list[object], text: str) -> None:
    assert either(words) == text


# What the 82599 makes of the contract


def ring_view(words: list[int], next_: int, tail: int) -> RingView:
    cells = b"".join(b"\0" * 8 + word.to_bytes(4, "little") + b"\0" * 4 for word in words)
    return RingView(memoryview(cells), len(words), next_, tail, 0)


@pytest.mark.parametrize(
    ("heads", "segmented", "received", "queued"),
    [
        ((3, 2), False, 3, 6),
        ((0, 0), False, 0, 0),
        ((3, 2), True, 2, 1),  # frames end in rx slots 0 and 2, and in tx slot 3
        ((5, 0), True, 100 - 97, 0),  # slot 3 is not written back: the device's count tells
    ],
)
def test_in_flight_is_between_heads_and_the_workers_places(
    heads: tuple[int, int], segmented: bool, received: int, queued: int
) -> None:
    function = FakeFunction()
    port = Ixgbe(function, "p0")
    port.statistics.queues["QPRC"] = [100]
    function.registers |= {RDH0: heads[0], TDH0: heads[1]}
    rx = ring_view([3, 1, 3, 0, 0, 0, 0, 0], next_=0, tail=7)
    tx = ring_view([0, 0, 0, 1 << 24, 0, 0, 0, 0], next_=0, tail=0)
    view = QueueView(rx, tx, 97, 0, segmented)
    found = port.in_flight(0, view)
    assert (found.received, found.queued) == (received, queued)
    assert port.sent(0, view) is (heads[1] == 0)
    assert port.rx_progress(0, view) == heads[0]


def test_poison_is_no_address() -> None:
    ring = memoryview(bytearray(16 * 64))
    Ixgbe(FakeFunction(), "p0").poison(ring)
    assert bytes(ring) == b"\xff" * len(ring)


@pytest.mark.parametrize(("queue", "rdt", "tdt"), [(0, 0x1018, 0x6018), (65, 0xD058, 0x7058)])
def test_doorbells_are_the_tails_in_a_page_each(queue: int, rdt: int, tdt: int) -> None:
    function = FakeFunction()
    function.window = lambda bar_offset, size: Window(9, 0x10000, 0, 0x80000)  # type: ignore[method-assign]
    bells = Ixgbe(function, "p0").doorbells(queue)
    for bell, offset in ((bells.rx, rdt), (bells.tx, tdt)):
        page = offset & ~0xFFF
        assert bell == RegisterDoorbell(Window(9, 0x10000 + page, page, 4096), offset)


def test_a_refusal_says_what_is_missing_as_a_clause() -> None:
    assert FAMILY.pci is not None
    for refusal in FAMILY.pci.refusals:
        assert isinstance(refusal, Refusal) and refusal.name and refusal.missing
        assert not refusal.missing.endswith(".")
