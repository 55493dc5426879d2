"""A card's own report on the real model: what it says, and that reading it changes nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ixyfwd.errors import DeviceTimeoutError
from ixyfwd.model.spec import ModelSpec, PortSpec
from ixyfwd.model.wires.none import NoWire
from ixyfwd.nic.ixgbe.errata import ERRATA, mac_type
from ixyfwd.nic.ixgbe.ids import ACCEPTED
from ixyfwd.nic.ixgbe.nvm import Nvm
from ixyfwd.nic.ixgbe.reading import WRITTEN, ReadingRegisters
from ixyfwd.nic.ixgbe.register import Register
from ixyfwd.nic.ixgbe.registers import AUTOC, CTRL
from ixyfwd.nic.ixgbe.report import REPORTS, CardInspection
from ixyfwd.nic.ixgbe.table import tables
from ixyfwd.nic.report import Fact, Selection
from ixyfwd.pci.function import Function
from ixyfwd.pci.open import open_function
from ixyfwd.supervisor.modelproc import ModelProcess
from tests.testing.driver_fake import FakeFunction

COPPER = (0x1528, 0x1563)
SWSM, SW_FW_SYNC, MSCA, MSRWD, FWSM = 0x10140, 0x10160, 0x425C, 0x4260, 0x10148
READ_CHANGES = {0x800, SWSM, SW_FW_SYNC}


@contextmanager
def model(folder: Path, device: int = 0x10FB, module: bool = True) -> Iterator[Function]:
    port = PortSpec("p", str(folder / "p.sock"), "02:69:78:79:00:05", NoWire(), device, module=module)
    process = ModelProcess(ModelSpec((port,), str(folder / "control.sock")))
    try:
        function = open_function(f"vfio-user:{port.socket}")
        try:
            yield function
        finally:
            function.close()
    finally:
        process.end()


def facts(function: Function) -> dict[tuple[str, str], Fact]:
    return {(fact.topic, fact.name): fact for fact in CardInspection(function, "p").facts()}


class Recorder:
    """A function that notes which registers are written."""

    def __init__(self, function: Function) -> None:
        self._function = function
        self.written: set[int] = set()

    def __getattr__(self, name: str) -> object:
        return getattr(self._function, name)

    def write32(self, offset: int, value: int) -> None:
        self.written.add(offset)
        self._function.write32(offset, value)


def test_an_82599_says_what_it_is(tmp_path: Path) -> None:
    with model(tmp_path) as function:
        found = facts(function)
    assert found["device", "id"].value == "8086:10fb"
    assert found["device", "MAC type"].value == "82599"
    assert found["PCIe", "link"].value == "5 GT/s x8"
    assert found["NVM", "checksum"].value is True
    assert found["NVM", "etrack id"].value == "0x80000001"
    assert found["NVM", "firmware patch"].value == 6
    assert found["module", "kind"].found == "passive direct-attach cable"
    assert (found["module", "vendor"].value, found["module", "part"].value) == ("ixyfwd model", "DAC-1M")
    assert found["link", "state"].value is True
    assert not [fact for fact in found.values() if fact.concern]


def test_an_empty_cage_is_said(tmp_path: Path) -> None:
    with model(tmp_path, module=False) as function:
        assert facts(function)["module", "cage"].concern


@pytest.mark.parametrize("device", COPPER)
def test_a_copper_card_says_what_its_phy_is(tmp_path: Path, device: int) -> None:
    with model(tmp_path, device) as function:
        found = facts(function)
    assert found["PHY", "id"].value in {0x01540200, 0x01540221}
    assert found["NVM", "etrack id"].value == "0x80000001"
    assert found["PHY", "low power"].value is False
    assert not [fact for fact in found.values() if fact.concern]


def mdio_write(function: Function, device: int, register: int, value: int) -> None:
    function.write32(MSRWD, value)
    for operation in (0, 1):
        function.write32(MSCA, register | device << 16 | operation << 26 | 1 << 30)


def test_low_power_temperature_and_partner_of_a_copper_card(tmp_path: Path) -> None:
    with model(tmp_path, 0x1563) as function:
        for device, register, value in (
            (0x1E, 0, 1 << 11),
            (0x1E, 0xC821, 1),
            (0x1E, 0xC820, 61 * 256),
            (7, 0x13, 1 << 10 | 1 << 8),
            (7, 0x21, 1 << 11),
        ):
            mdio_write(function, device, register, value)
        found = facts(function)
    assert found["PHY", "low power"].concern
    assert found["temperature", "PHY"].value == 61
    assert found["link", "partner"].found == "offers 10 Gb/s, 100 Mb/s; pauses in both directions"


@pytest.mark.parametrize("device", [0x10FB, 0x10F9, *COPPER])
def test_a_report_changes_no_register_but_its_windows(tmp_path: Path, device: int) -> None:
    windows = {row[n].offset for row in Register.__subclasses__() if row.__name__ in WRITTEN for n in range(row.count)}
    with model(tmp_path, device) as function:
        kept = [at for at in range(0, 0x20000, 4) if at not in windows | READ_CHANGES and not 0x40 <= at < 0x50]
        kept = [at for at in kept if not (0x1000 <= at < 0x1800 or 0x4000 <= at < 0x4200)][::31]
        kept += [0x42A0, 0x42A8]
        before = [function.read32(at) for at in kept if at != MSRWD]
        recorder = Recorder(function)
        inspection = CardInspection(recorder, "p")  # type: ignore[arg-type]
        list(inspection.facts())
        list(inspection.registers(Selection()))
        assert [function.read32(at) for at in kept if at != MSRWD] == before
        assert recorder.written <= windows
        assert function.read32(SWSM) & 1 == 0, "the semaphore is given back"
        assert function.read32(SW_FW_SYNC) & 0x7FF == 0


def test_a_semaphore_of_another_holder_stays_with_it(tmp_path: Path) -> None:
    with model(tmp_path) as function:
        assert function.read32(SWSM) & 1 == 0  # taken by reading
        found = facts(function)
        assert function.read32(SWSM) & 1
    assert "SWSM" in found["module", "not read"].concern
    assert found["link", "state"].value is True


def test_other_registers_cannot_be_written() -> None:
    regs = ReadingRegisters(FakeFunction(), "p")
    with pytest.raises(ValueError, match="must not write CTRL"):
        regs.write(CTRL, CTRL.RST(1))
    with pytest.raises(ValueError, match="must not change AUTOC"):
        regs.update(AUTOC, AUTOC.LMS(3))


def test_firmware_that_indicates_an_error_is_said() -> None:
    function = FakeFunction(0x1563)
    function.config.update({0x08: 1, 0x2C: 0x8086, 0x2E: 3, 0x34: 0})
    function.registers[FWSM] = 0x0118801F
    inspection = CardInspection(function, "p")
    firmware = next(fact for fact in inspection._firmware() if fact.name == "FWSM")
    assert "0x23" in firmware.concern


def test_nothing_that_a_read_changes_is_read() -> None:
    function = FakeFunction()
    list(CardInspection(function, "p").registers(Selection()))
    read = {at for kind, at, _ in function.log if kind == "read"}
    assert not read & (function._clears | {SWSM, SW_FW_SYNC})
    assert not function.writes()


def test_every_register_of_the_driver_is_in_the_table() -> None:
    mine = {row for row in Register.__subclasses__() if row.__module__.startswith("ixyfwd.")}
    assert set(tables()) == mine
    assert "RXDCTL" in REPORTS.names and "QPRC" in REPORTS.names


def test_errata_have_sources_and_chips_that_exist() -> None:
    chips = {mac_type(device) for device in ACCEPTED}
    assert chips == {"82599", "X540", "X550"}
    for one in ERRATA:
        assert set(one.chips) <= chips and one.source and one.handling


def test_a_device_that_does_not_finish_is_a_sentence() -> None:
    """EERD.DONE never comes, and the clock is real: the NVM's facts say so."""
    function = FakeFunction()
    function.broken.nvm = True
    regs = ReadingRegisters(function, "p")
    with pytest.raises(DeviceTimeoutError, match="EERD"):
        Nvm(regs, ACCEPTED[0]).word(0)
