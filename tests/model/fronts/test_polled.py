"""The polled front end without a driver process: what stores in `resource0` do, and the device directory."""

import ctypes
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ixyfwd.errors import RefusedError, UsageError
from ixyfwd.model.chip.pciconfig import BAR0_BYTES
from ixyfwd.model.fronts.polled import memory
from ixyfwd.model.fronts.polled.directory import ConfigFile, DeviceDirectory
from ixyfwd.model.fronts.polled.mirror import Mirror
from ixyfwd.model.fronts.polled.path import PolledPath
from ixyfwd.model.port import SimulatedPort
from ixyfwd.model.spec import ModelSpec, PortSpec
from ixyfwd.model.wires.none import NoWire
from tests.testing.model_fakes import MAC, Bench
from tests.testing.model_hand import ARENA_BYTES, CONTEXT, DEXT, IOVA, Hand, Ring

ENABLE, RST = 1 << 25, 1 << 26
RESET_VALUES = {
    "HLREG0": 0x08012C0B,
    "RDRXCTL": 0x00108808,
    "DMATXCTL": 0x81000004,
    "VLNCTRL": 0x8100,
    "STATUS": 1 << 19,
    "AUTOC": 0xC09C6004,
}


class Desk(Bench):
    """A port on a fake data path whose BAR0 a driver has mapped as `bar`."""

    def __init__(self) -> None:
        super().__init__()
        spec = PortSpec("p0", "", MAC, NoWire(), directory="/unused")
        self.port = SimulatedPort(spec, self.datapath, self.map, self.clock)  # type: ignore[arg-type]
        mapped = mmap.mmap(-1, BAR0_BYTES)
        self.bar = memoryview(mapped).cast("I")
        self.mirror = Mirror(self.port, self.datapath.store, self.map, mapped)
        self.mirror.publish_reset()

    def see(self, name: str, index: int = 0) -> int:
        """What the driver finds."""
        return self.bar[self.at(name, index) // 4]

    def put(self, name: str, value: int, index: int = 0) -> None:
        """The driver's store."""
        self.bar[self.at(name, index) // 4] = value

    def turn(self) -> None:
        """One round of the front end."""
        commands, resets = self.mirror.commands(), self.port.resets
        self.mirror.take(commands)
        if self.port.resets != resets:
            self.mirror.publish_reset()
        else:
            self.mirror.publish()


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_the_file_shows_the_reset_values_and_zeros_elsewhere(desk: Desk) -> None:
    for name, value in RESET_VALUES.items():
        assert desk.see(name) == value, name
    for offset, cell in desk.map.at.items():
        if cell.register.alias:
            assert desk.bar[offset // 4] == desk.bar[cell.word], hex(offset)
    assert desk.bar[0x0000C // 4] == 0


def test_stores_become_register_writes_and_aliases_follow(desk: Desk) -> None:
    desk.bar[0x5818 // 4] = 0xF30001
    desk.put("FCTRL", 0x700)
    desk.turn()
    assert desk.read("MRQC") == desk.bar[0xEC80 // 4] == 0xF30001
    assert desk.read("FCTRL") == desk.see("FCTRL") == 0x700
    assert ("reconfigure",) in desk.datapath.calls


def test_only_writable_bits_stay(desk: Desk) -> None:
    desk.put("RDBAL", 0x1234FFFF)
    desk.put("RDRXCTL", 0)
    desk.bar[0x0000C // 4] = 0xFFFFFFFF  # nothing is there
    desk.turn()
    assert desk.see("RDBAL") == 0x1234FF80
    assert desk.see("RDRXCTL") == 1 << 3  # DMAIDONE is the chip's
    assert desk.bar[0x0000C // 4] == 0


def test_a_reset_puts_everything_back_and_ends_with_ctrl(desk: Desk) -> None:
    for name in ("FCTRL", "HLREG0", "EIAC", "RDBAL", "RDT", "GPRC"):
        desk.put(name, 0x77)
    desk.turn()
    desk.put("RDT", 0x1FF)
    desk.put("CTRL", RST | 8)
    assert [word for word, _ in desk.mirror.commands()] == [0]
    desk.turn()
    assert desk.see("HLREG0") == RESET_VALUES["HLREG0"]
    assert desk.see("FCTRL") == desk.see("RDBAL") == desk.see("RDT") == desk.see("GPRC") == desk.see("CTRL") == 0
    assert desk.mirror.commands() == []


def test_the_reset_is_not_over_before_its_values_are_there(desk: Desk) -> None:
    """CTRL goes last: while it is still set nobody may rely on the rest."""
    seen: list[int] = []

    class Watched:
        def __setitem__(self, word: int, value: int) -> None:
            seen.append(word)
            assert desk.see("HLREG0") == RESET_VALUES["HLREG0"]
            desk.bar[word] = value

    desk.put("HLREG0", 1)
    desk.put("CTRL", RST)
    desk.mirror.take(desk.mirror.commands())
    desk.mirror._bar = Watched()  # type: ignore[assignment]
    desk.mirror.publish_reset()
    assert seen == [1, 0]


def test_a_queue_starts_with_what_was_stored_before_its_enable(desk: Desk) -> None:
    desk.put("RXDCTL", ENABLE, 3)
    commands = desk.mirror.commands()
    desk.put("RDLEN", 2048, 3)
    desk.put("RDBAH", 5, 3)
    desk.mirror.take(commands)
    assert ("start_rx", 3) in desk.datapath.calls
    assert (desk.read("RDLEN", 3), desk.read("RDBAH", 3)) == (2048, 5)
    desk.mirror.publish()
    assert desk.see("RXDCTL", 3) == ENABLE


def test_enable_of_an_unusable_ring_reads_0(desk: Desk) -> None:
    desk.datapath.refuses_to_start = True
    desk.put("TXDCTL", ENABLE)
    desk.turn()
    assert desk.see("TXDCTL") == 0


def test_interrupt_cells_are_commands_that_read_0(desk: Desk) -> None:
    desk.put("EIMS", 0xFF)
    desk.turn()
    assert desk.see("EIMS") == 0xFF
    desk.put("EIMC", 0x0F)
    desk.put("EIMS", 0)  # writing zeros to a set register does nothing
    desk.turn()
    assert (desk.see("EIMS"), desk.see("EIMC")) == (0xF0, 0)


def test_commands_that_answer(desk: Desk) -> None:
    desk.put("EERD", 0x2B << 2 | 1)
    desk.put("MSCA", 1 << 30 | 3 << 26)
    desk.turn()
    assert desk.see("EERD") == 0x0140 << 16 | 0x2B << 2 | 2
    assert desk.see("MSCA") & 1 << 30 == 0
    assert desk.see("MSRWD") >> 16 == 0xFFFF


def test_the_link_comes_up_in_the_file(desk: Desk) -> None:
    desk.put("AUTOC", desk.see("AUTOC") | 1 << 12)
    desk.turn()
    assert (desk.see("LINKS") >> 30, desk.see("AUTOC") & 1 << 12) == (0, 0)
    desk.pass_ms(20)
    desk.turn()
    assert desk.see("LINKS") >> 30 == 1


def test_status_follows_gio_dis_and_cannot_be_destroyed(desk: Desk) -> None:
    desk.put("STATUS", 0)
    desk.put("CTRL", 1 << 2)
    desk.turn()
    assert desk.see("STATUS") & 1 << 19 == 0
    assert desk.misuses() == ["STATUS(0): 0x0 written to a read-only register"]
    desk.put("CTRL", 0)
    desk.turn()
    assert desk.see("STATUS") & 1 << 19


def test_a_store_that_comes_between_is_not_lost(desk: Desk) -> None:
    desk.put("AUTOC", desk.see("AUTOC") | 1 << 12)
    desk.mirror.take(desk.mirror.commands())
    desk.put("AUTOC", 0x6004 | 1)  # before the cleared AN_RESTART is shown
    desk.mirror.publish()
    assert desk.see("AUTOC") == 0x6005
    desk.turn()
    assert desk.read("AUTOC") == 0x6005


def test_counters_grow_and_whoever_zeroes_them_reads_differences(desk: Desk) -> None:
    desk.datapath.stats.gprc = 5
    desk.datapath.stats.gorc = 0xFFFFFFFF
    desk.datapath.stats.qptc[2] = 7
    desk.mirror.add_counters()
    assert (desk.see("GPRC"), desk.see("GORCL"), desk.see("GORCH")) == (5, 0xFFFFFFFF, 0)
    assert desk.see("QPTC", 2) == desk.bar[0x8688 // 4] == 7
    desk.put("GPRC", 0)
    desk.datapath.stats.gprc = 8
    desk.datapath.stats.gorc = 0x1_0000_0001
    desk.turn()
    desk.mirror.add_counters()
    assert (desk.see("GPRC"), desk.see("GORCL"), desk.see("GORCH")) == (3, 1, 1)
    desk.datapath.stats.gprc = 2**33
    desk.mirror.add_counters()
    assert desk.see("GPRC") == 0xFFFFFFFF


def test_heads_are_shown_and_tails_are_the_drivers(desk: Desk) -> None:
    desk.put("RDT", 100)
    desk.datapath.store[desk.at("TDH", 5) // 4] = 9  # as the data path does at the end of a slice
    desk.mirror.publish_heads()
    desk.turn()
    assert (desk.see("TDH", 5), desk.see("RDT")) == (9, 100)


def test_order_is_not_judged_where_it_cannot_be_seen(desk: Desk) -> None:
    desk.put("RTTDCS", 0)
    desk.put("MTQC", 1)  # with ARBDIS set for a moment, for all that is known
    desk.turn()
    assert desk.misuses() == []


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, BAR0_BYTES // 4 - 1) | st.integers(0, 0x1000), st.integers(0, 2**32 - 1)), max_size=40
    )
)
def test_whatever_is_stored_the_file_settles(stores: list[tuple[int, int]]) -> None:
    desk = Desk()
    for word, value in stores:
        desk.bar[word] = value
        desk.turn()
    desk.turn()
    assert desk.mirror.commands() == []
    assert desk.bar[0] & (RST | 8) == 0
    for name in ("FWSM", "FACTPS", "STATUS", "LINKS"):
        assert desk.see(name) == desk.read(name), name


def test_a_port_that_left_the_bus_shows_all_ones_until_it_is_back(desk: Desk) -> None:
    desk.port.leave()
    desk.mirror.publish_reset()
    desk.put("CTRL", RST)
    desk.turn()
    assert desk.see("STATUS") == desk.see("CTRL") == desk.see("GPRC") == 0xFFFFFFFF
    resets = desk.port.resets
    desk.port.come_back()
    assert desk.port.resets > resets
    desk.mirror.publish_reset()
    assert (desk.see("HLREG0"), desk.see("GPRC")) == (RESET_VALUES["HLREG0"], 0)


# The directory


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[DeviceDirectory]:
    made = DeviceDirectory(str(tmp_path / "dev"), 0x10FB)
    yield made
    made.close()


def test_the_directory_looks_like_a_function(directory: DeviceDirectory, tmp_path: Path) -> None:
    path = tmp_path / "dev"
    texts = {name: (path / name).read_text() for name in ("vendor", "device", "class", "numa_node")}
    assert texts == {"vendor": "0x8086\n", "device": "0x10fb\n", "class": "0x020000\n", "numa_node": "-1\n"}
    lines = (path / "resource").read_text().splitlines()
    start, end, _ = (int(word, 16) for word in lines[0].split())
    assert (len(lines), end - start + 1) == (13, BAR0_BYTES)
    assert (path / "resource0").stat().st_size == BAR0_BYTES
    assert path.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o600}
    directory.close()
    assert not path.exists()


def test_a_second_model_is_refused(directory: DeviceDirectory, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="another model serves"):
        DeviceDirectory(str(tmp_path / "dev"), 0x10FB)
    assert (tmp_path / "dev" / "resource0").exists()


def test_what_a_killed_model_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "dev"
    path.mkdir()
    (path / "resource0").write_bytes(b"old")
    made = DeviceDirectory(str(path), 0x10FB)
    assert (path / "resource0").stat().st_size == BAR0_BYTES
    made.close()
    assert list(path.iterdir()) == []  # it was there before: it stays


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(UsageError, match="holds 'precious', which is no file of a device directory"):
        DeviceDirectory(str(tmp_path), 0x10FB)
    with pytest.raises(UsageError, match="a file is there"):
        DeviceDirectory(str(tmp_path / "precious"), 0x10FB)
    with pytest.raises(UsageError, match="No such file or directory"):
        DeviceDirectory(str(tmp_path / "no" / "dev"), 0x10FB)
    assert os.listdir(tmp_path) == ["precious"]


def test_configuration_space_is_a_file(desk: Desk, directory: DeviceDirectory) -> None:
    fd = directory.config_fd
    config = ConfigFile(desk.port, fd)
    config.exchange()
    assert os.pread(fd, 4, 0) == bytes.fromhex("8680fb10")
    assert os.pread(fd, 4, 8)[3] == 2
    os.pwrite(fd, b"\x04\x00", 4)
    os.pwrite(fd, b"\xff\xff", 0)  # read-only
    config.exchange()
    assert desk.datapath.bus_master
    assert os.pread(fd, 6, 0) == bytes.fromhex("8680fb100400")
    resets = desk.port.resets
    os.pwrite(fd, b"\x10\xa8", 0xA8)  # function-level reset
    config.exchange()
    assert desk.port.resets > resets
    assert not desk.datapath.bus_master
    assert os.pread(fd, 2, 4) == b"\0\0"
    os.truncate(fd, 10)
    config.exchange()
    assert os.fstat(fd).st_size == 4096


def test_the_spec_passes_through_json() -> None:
    port = PortSpec("p0", "", MAC, NoWire(), directory="/dev/shm/p0")
    spec = ModelSpec((port,), "/tmp/control")
    assert ModelSpec.from_json(spec.as_json()) == spec


def test_without_physical_addresses_it_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_entry", lambda fd, address: memory.PRESENT)  # what others than root are told
    with pytest.raises(UsageError, match="which the kernel hides here; run as root"):
        memory.check_permission()


def test_a_mapping_is_found_by_its_address(tmp_path: Path) -> None:
    file = tmp_path / "resource0"
    file.write_bytes(bytes(8192))
    with file.open("r+b") as opened:
        mapped = mmap.mmap(opened.fileno(), 8192)
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
    identity = memory.mapping_identity(address)
    assert identity.split()[1] == str(file.stat().st_ino).encode()
    assert memory.processes_that_map(identity) == set()  # this one does not count
    with pytest.raises(LookupError):
        memory.mapping_identity(1)


# The data path: descriptors that name unknown memory wait until somebody has looked


class PolledHand(Hand):
    """Port a reads its doorbells from `bar`; none of the memory is known to it."""

    def __init__(self) -> None:
        super().__init__()
        memory = mmap.mmap(-1, BAR0_BYTES)
        self.bar = memoryview(memory).cast("I")
        self.path = PolledPath(self.ports[0], memory)
        self.ports[0].unmap_all()

    def ring_doorbell(self, ring: Ring, value: int) -> None:
        """As a driver does: in the file, not in the model's own store."""
        self.bar[(ring.window + 0x18) // 4] = value
        self.run(3)


@pytest.fixture
def hand() -> Iterator[PolledHand]:
    made = PolledHand()
    with made:
        yield made


def let_reach_all(hand: PolledHand) -> None:
    hand.ports[0].map_dma(IOVA, ARENA_BYTES, hand.fd, 0, True, True)
    hand.path.answer_missed(True)
    hand.run(3)


def test_a_frame_waits_for_the_memory_it_is_in(hand: PolledHand) -> None:
    port = hand.ports[0]
    ring = hand.tx_ring(port)
    hand.queue_frame(ring, bytes(60))
    hand.ring_doorbell(ring, 1)
    assert hand.path.missed() == IOVA + ring.offset
    assert (port.stats.gptc, port.faults().total) == (0, 0)
    let_reach_all(hand)
    assert (hand.path.missed(), port.stats.gptc, port.tx_head(0), port.faults().total) == (None, 1, 1, 0)
    hand.accounts_close(port)


def test_posted_buffers_wait_too(hand: PolledHand) -> None:
    left, right = hand.ports
    ring = hand.rx_ring(left, entries=16)
    hand.ring_doorbell(ring, 15)
    assert hand.path.missed() == IOVA + ring.offset
    let_reach_all(hand)
    sender = hand.tx_ring(right)
    hand.send(sender, [bytes(60)], rounds=4)
    assert len(hand.receive(ring, refill=False)) == 1
    assert (hand.path.missed(), left.faults().total) == (None, 0)
    hand.accounts_close(left)


def test_memory_that_nobody_has_is_asked_for_once_and_then_a_fault(hand: PolledHand) -> None:
    port = hand.ports[0]
    ring = hand.tx_ring(port)
    hand.queue_frame(ring, bytes(60))
    hand.ring_doorbell(ring, 1)
    let_reach_all(hand)
    hand.queue_frame(ring, bytes(60))
    hand.set_desc(ring, 1, 0x7000000000, hand.desc(ring, 1)[1])
    hand.ring_doorbell(ring, 2)
    assert (hand.path.missed(), port.faults().total) == (0x7000000000, 0)
    hand.path.answer_missed(False)
    hand.run(3)
    assert hand.fault_kinds(port) == {"dma_unmapped": 1}
    assert (hand.path.missed(), port.tx_head(0), port.stats.gptc, port.stats.tx_dropped) == (None, 2, 1, 1)


def test_a_context_descriptor_names_no_memory(hand: PolledHand) -> None:
    port = hand.ports[0]
    port.map_dma(IOVA, ARENA_BYTES, hand.fd, 0, True, True)
    ring = hand.tx_ring(port)
    hand.set_desc(ring, 0, 14 << 9 | 20, DEXT | CONTEXT)
    ring.next = 1
    hand.queue_frame(ring, bytes(60))
    hand.ring_doorbell(ring, 2)
    assert (hand.path.missed(), port.stats.gptc, port.faults().total) == (None, 1, 0)
