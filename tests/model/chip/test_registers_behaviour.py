"""What registers do: resets, semaphores, interrupts, link, queues, statistics, misuse (datasheet 8.2.3)."""

import pytest

from ixyfwd.errors import UsageError
from ixyfwd.model.chip.nvm import build_image
from ixyfwd.model.chip.pins import SDP_OCCUPIED
from ixyfwd.model.chip.profiles import build_register_map
from ixyfwd.model.port import SimulatedPort
from ixyfwd.model.spec import PortSpec
from ixyfwd.model.wires.none import NoWire
from tests.testing.model_fakes import MAC, Bench, FakePort

ENABLE = 1 << 25
RST = 1 << 26
LNK_RST = 1 << 3
GIO_DIS = 1 << 2
LSC = 1 << 20


@pytest.fixture
def bench() -> Bench:
    return Bench()


def bring_up_queue(bench: Bench, n: int = 0) -> None:
    bench.write("DMATXCTL", bench.read("DMATXCTL") | 1)
    bench.write("RXDCTL", ENABLE, n)
    bench.write("TXDCTL", ENABLE, n)


# Reset


@pytest.mark.parametrize("bits", [RST, LNK_RST, RST | LNK_RST])
def test_reset_happens_within_the_write(bench: Bench, bits: int) -> None:
    """DPDK and Linux give it 10 microseconds; nothing of the old life may be left."""
    bring_up_queue(bench)
    for name, value in (("RETA", 7), ("EIMS", 0xFF), ("RXCTRL", 1), ("RDT", 3), ("FCTRL", 0x700), ("EICS", 2)):
        bench.write(name, value)
    bench.write("RAL", 0, 0)
    bench.write("CTRL", bits | GIO_DIS)
    assert bench.read("CTRL") == 0
    assert [bench.read(name) for name in ("RETA", "EIMS", "RXCTRL", "RDT", "FCTRL", "EICR")] == [0] * 6
    assert bench.read("RXDCTL") == bench.read("TXDCTL") == 0
    assert bench.read("RAL") == 0x33221102
    assert bench.read("EEC") & 0x300 == 0x300, "auto-read done, EEPROM present"
    assert bench.read("RDRXCTL") & 8, "DMA initialisation done"
    assert not bench.datapath.running
    assert bench.misuses() == []


def test_reset_leaves_semaphores_and_configuration_space(bench: Bench) -> None:
    bench.write_config(4, 2, 6)
    bench.write("SW_FW_SYNC", 3)
    bench.write("CTRL", RST)
    assert bench.read("SW_FW_SYNC") == 3
    assert bench.config(4, 2) == 6
    assert bench.datapath.bus_master


def test_the_data_path_is_stopped_before_registers_change(bench: Bench) -> None:
    bench.datapath.calls.clear()
    bench.write("CTRL", RST)
    assert bench.datapath.calls[0][0] == "reset"
    assert bench.datapath.calls[-1] == ("reconfigure",)


def test_master_disable(bench: Bench) -> None:
    bench.write_config(4, 2, 6)
    assert bench.read("STATUS") & 1 << 19
    assert bench.datapath.bus_master
    bench.write("CTRL", GIO_DIS)
    assert not bench.read("STATUS") & 1 << 19
    assert not bench.datapath.bus_master
    bench.write("CTRL", 0)
    assert bench.datapath.bus_master


def test_function_level_reset_by_configuration_space(bench: Bench) -> None:
    bench.write_config(4, 2, 6)
    bench.write("RETA", 7)
    bench.write_config(0xA8, 2, 0x8000)
    assert bench.read("RETA") == 0
    assert bench.config(4, 2) == 0
    assert bench.config(0xA8, 2) == 0x2810
    assert not bench.datapath.bus_master


# NVM and semaphores


def test_eerd_reads_the_image(bench: Bench) -> None:
    read = []
    for address in range(1024):
        bench.write("EERD", address << 2 | 1)
        value = bench.read("EERD")
        assert value & 3 == 2, "DONE, not START"
        assert value >> 2 & 0x3FFF == address
        read.append(value >> 16)
    assert read == build_image()


def test_eerd_beyond_the_image(bench: Bench) -> None:
    bench.write("EERD", 0x3FFF << 2 | 1)
    assert bench.read("EERD") >> 16 == 0xFFFF


def test_eewr_writes_and_a_reset_keeps_it(bench: Bench) -> None:
    bench.write("EEWR", 0xCAFE << 16 | 0x30 << 2 | 1)
    assert bench.read("EEWR") & 3 == 2
    bench.write("CTRL", RST)
    bench.write("EERD", 0x30 << 2 | 1)
    assert bench.read("EERD") >> 16 == 0xCAFE


def test_eec_grants(bench: Bench) -> None:
    bench.write("EEC", 1 << 6)
    assert bench.read("EEC") == 0x2700 | 3 << 6
    bench.write("EEC", 0)
    assert bench.read("EEC") == 0x2700


def test_swsm_is_taken_by_reading(bench: Bench) -> None:
    assert [bench.read("SWSM") & 1 for _ in range(3)] == [0, 1, 1]
    bench.write("SWSM", 2)
    assert bench.read("SWSM") == 2
    assert bench.read("SWSM") == 3
    bench.write("SWSM", 0)
    assert bench.read("SWSM") == 0


def test_firmware_never_takes_its_semaphores(bench: Bench) -> None:
    bench.write("SW_FW_SYNC", 0xFFFFFFFF)
    assert bench.read("SW_FW_SYNC") >> 5 & 31 == 0


def test_no_phy_answers(bench: Bench) -> None:
    for phy in range(32):
        bench.write("MSCA", 1 << 30 | phy << 21 | 1 << 16 | 2)  # address cycle
        assert not bench.read("MSCA") & 1 << 30
        bench.write("MSCA", 1 << 30 | 3 << 26 | phy << 21 | 1 << 16 | 2)
        assert not bench.read("MSCA") & 1 << 30
        assert bench.read("MSRWD") >> 16 == 0xFFFF


def test_i2c_lines_follow_the_driver_when_nobody_answers(bench: Bench) -> None:
    for out in (0x0, 0x2, 0x8, 0xA):
        bench.write("I2CCTL", out)
        assert bench.read("I2CCTL") == out | out >> 1


def test_sdp_inputs_show_the_pin(bench: Bench) -> None:
    bench.write("ESDP", 0x0000)
    assert bench.read("ESDP") == 0x04, "module present, laser on"
    bench.write("ESDP", 0x0808)
    assert bench.read("ESDP") == 0x080C, "an output shows what was written"


def test_fdir(bench: Bench) -> None:
    bench.write("FDIRCTRL", 0)
    assert bench.read("FDIRCTRL") == 0
    bench.write("FDIRCTRL", 1)
    assert bench.read("FDIRCTRL") == 9
    bench.datapath.calls.clear()
    bench.port.region_write(0, 0xEE28, (0x0002_0001_12345678).to_bytes(8, "little"))
    assert (bench.read("FDIRHASH"), bench.read("FDIRCMD")) == (0x12345678, 0x00020001)
    assert bench.datapath.calls == [("command_flow_director",)]
    assert not bench.read("EICR") & 1 << 16
    bench.datapath.flow_director_full = True
    bench.write("FDIRCMD", 1)
    assert bench.read("EICR") & 1 << 16


# Interrupts


def test_eicr_is_cleared_by_reading_and_by_ones(bench: Bench) -> None:
    bench.write("EICS", 0x8000_00FF)
    assert bench.read("EICS") == 0x8000_00FF == bench.read("EICS"), "reading EICS clears nothing"
    bench.write("EICR", 0x0F)
    assert bench.read("EICR") == 0x8000_00F0
    assert bench.read("EICR") == 0


def test_eicr_with_ocd_keeps_queue_causes(bench: Bench) -> None:
    bench.write("GPIE", 1 << 5)
    bench.write("EICS", 0xFFFFFFFF)
    assert bench.read("EICR") == 0xFFFFFFFF
    assert bench.read("EICR") == 0xC000FFFF


def test_masks_are_set_and_cleared_by_ones(bench: Bench) -> None:
    bench.write("EIMS", 0xF0)
    bench.write("EIMS", 0x0F)
    bench.write("EIMS", 0)
    assert bench.read("EIMS") == 0xFF
    bench.write("EIMC", 0x81)
    assert bench.read("EIMS") == 0x7E
    assert bench.read("EIMC") == 0


def test_extended_forms_share_the_low_16_queue_causes(bench: Bench) -> None:
    bench.write("EIMS_EX", 0x0003_0005, 0)
    assert bench.read("EIMS") == 5
    bench.write("EIMS", 1 << 20 | 8)
    assert bench.read("EIMS_EX", 0) == 0x0003_000D
    bench.write("EIMC_EX", 0xFFFFFFFF, 0)
    assert bench.read("EIMS") == 1 << 20
    bench.write("EICS_EX", 1, 1)
    assert (bench.read("EICS"), bench.read("EICS_EX", 1)) == (0, 1)


def test_automask_on_read_without_msix(bench: Bench) -> None:
    bench.write("EIMS", 7)
    bench.write("EIAM", 5)
    bench.read("EICR")
    assert bench.read("EIMS") == 2
    bench.write("EIMS", 7)
    bench.write("GPIE", 1 << 4)
    bench.read("EICR")
    assert bench.read("EIMS") == 7


# Link


def links(bench: Bench) -> tuple[bool, bool]:
    """As the client sees it and as the data path was told."""
    up = bool(bench.read("LINKS") & 1 << 30)
    assert bool(bench.read("STATUS") & 1 << 7) == up == bench.port.link_up
    return up, bench.datapath.link


def test_link_comes_up_a_moment_after_reset(bench: Bench) -> None:
    assert links(bench) == (False, False)
    bench.pass_ms(9)
    assert links(bench) == (False, False)
    bench.pass_ms(1)
    assert links(bench) == (True, True)
    assert bench.read("LINKS") >> 28 & 3 == 3, "10 Gb/s"
    assert bench.read("EICR") & LSC
    bench.write("CTRL", RST)
    assert links(bench) == (False, False)
    assert bench.read("EICR") == 0


def test_reading_links_is_enough_to_see_it_come(bench: Bench) -> None:
    bench.clock.ns += 10_000_000
    assert links(bench) == (True, True)


def test_restart_of_negotiation(bench: Bench) -> None:
    bench.pass_ms(10)
    bench.write("AUTOC", bench.read("AUTOC") | 1 << 12)
    assert not bench.read("AUTOC") & 1 << 12
    assert bench.read("ANLP1") >> 16 & 15
    assert links(bench) == (False, False)
    bench.pass_ms(10)
    assert links(bench) == (True, True)


def test_an_empty_cage_has_no_link_whoever_plugs_what() -> None:
    bench = Bench(module=False)
    assert bench.read("ESDP") & SDP_OCCUPIED == 0
    bench.pass_ms(1000)
    assert links(bench) == (False, False)
    bench.port.set_cable(True)
    bench.write("CTRL", RST)
    bench.pass_ms(1000)
    assert links(bench) == (False, False)


def test_autoc_without_restart_leaves_the_link(bench: Bench) -> None:
    bench.pass_ms(10)
    bench.write("AUTOC", bench.read("AUTOC") | 1 << 13)
    assert links(bench) == (True, True)


def test_cable_pulled_and_plugged(bench: Bench) -> None:
    bench.pass_ms(10)
    bench.read("EICR")
    bench.port.set_cable(False)
    assert links(bench) == (False, False)
    assert bench.read("EICR") & LSC
    bench.pass_ms(1000)
    assert links(bench) == (False, False)
    bench.write("CTRL", RST)
    bench.pass_ms(1000)
    assert links(bench) == (False, False), "a reset plugs no cable"
    bench.port.set_cable(True)
    bench.pass_ms(10)
    assert links(bench) == (True, True)


@pytest.mark.parametrize(("name", "bit"), [("AUTOC", 0), ("HLREG0", 15)])
def test_forced_link_and_loopback(bench: Bench, name: str, bit: int) -> None:
    bench.port.set_cable(False)
    bench.write(name, bench.read(name) | 1 << bit)
    assert links(bench) == (True, True)
    bench.write(name, bench.read(name) & ~(1 << bit))
    assert links(bench) == (False, False)


def test_autoc_by_device_id() -> None:
    assert Bench(0x10FB).read("AUTOC") >> 13 & 7 == 3
    assert Bench(0x10F9).read("AUTOC") == 0x2100
    assert Bench(0x10F9).config(2, 2) == 0x10F9


# Queues


def test_enable_reads_1_once_the_queue_runs(bench: Bench) -> None:
    bench.write("RXDCTL", ENABLE | 1 << 30, 3)
    assert bench.read("RXDCTL", 3) == ENABLE | 1 << 30
    assert bench.datapath.running == {("rx", 3)}
    bench.write("RXDCTL", 1 << 30, 3)
    assert bench.read("RXDCTL", 3) == 1 << 30
    assert not bench.datapath.running


def test_enable_stays_0_if_the_ring_is_unusable(bench: Bench) -> None:
    bench.datapath.refuses_to_start = True
    bench.write("RXDCTL", ENABLE)
    assert bench.read("RXDCTL") == 0


def test_enabling_twice_starts_once(bench: Bench) -> None:
    bench.write("RXDCTL", ENABLE)
    bench.write("RXDCTL", ENABLE | 1 << 30)
    assert bench.datapath.calls.count(("start_rx", 0)) == 1
    assert bench.read("RXDCTL") == ENABLE | 1 << 30


def test_flush_bit_clears_itself(bench: Bench) -> None:
    bench.write("TXDCTL", 1 << 26 | 0x24)
    assert bench.read("TXDCTL") == 0x24


def test_heads_come_from_the_data_path(bench: Bench) -> None:
    bring_up_queue(bench, 100)
    bench.datapath.heads = {("rx", 100): 17, ("tx", 100): 18}
    assert (bench.read("RDH", 100), bench.read("TDH", 100)) == (17, 18)
    bench.write("RXDCTL", 0, 100)
    assert bench.read("RDH", 100) == 17


def test_head_may_be_written_while_the_queue_is_off_or_has_not_begun(bench: Bench) -> None:
    bench.write("RDH", 5)
    assert bench.read("RDH") == 5
    bench.write("RXDCTL", ENABLE)
    bench.write("RDH", 0)
    assert bench.misuses() == []
    bench.datapath.takes_heads = False
    bench.write("RDH", 9)
    assert bench.misuses() == ["RDH(0): 0x9 written while the queue is at work"]


def test_tails(bench: Bench) -> None:
    bring_up_queue(bench)
    bench.datapath.calls.clear()
    bench.write("RDT", 511)
    bench.write("TDT", 0x10004)
    assert bench.datapath.calls == [("tail", "rx", 0), ("tail", "tx", 0)]
    assert (bench.read("RDT"), bench.read("TDT")) == (511, 4)
    assert bench.datapath.store[bench.at("TDT") // 4] == 4


def test_a_tail_written_while_disabled_is_only_stored(bench: Bench) -> None:
    bench.write("TDT", 0)
    bench.write("RDT", 0)
    assert bench.misuses() == []
    bench.write("TDT", 7)
    assert bench.read("TDT") == 7
    assert ("tail", "tx", 0) not in bench.datapath.calls
    assert bench.misuses() == ["TDT(0): 7 written before the queue's ENABLE read 1"]


def test_discarding_unsent_packets_is_no_misuse(bench: Bench) -> None:
    """Snabb sets TDT to TDH when it stops a queue."""
    bring_up_queue(bench)
    bench.datapath.heads["tx", 0] = 33
    bench.write("TDT", 60)
    bench.write("TXDCTL", 0)
    bench.write("TDT", bench.read("TDH"))
    assert bench.misuses() == []


@pytest.mark.parametrize("name", ["RDBAL", "RDBAH", "RDLEN", "TDBAL", "TDBAH", "TDLEN", "TDWBAL", "TDWBAH"])
def test_ring_registers_of_a_running_queue(bench: Bench, name: str) -> None:
    bench.write(name, 0x1000, 2)
    assert bench.read(name, 2) == 0x1000
    assert bench.misuses() == []
    bring_up_queue(bench, 2)
    bench.write(name, 0x2000, 2)
    assert bench.misuses() == [f"{name}(2): 0x2000 written while the queue is enabled"]


def test_ring_registers_drop_low_bits(bench: Bench) -> None:
    for name in ("RDBAL", "TDBAL"):
        bench.write(name, 0xFFFFFFFF)
        assert bench.read(name) == 0xFFFFFF80
    for name in ("RDLEN", "TDLEN"):
        bench.write(name, 0xFFFFFFFF)
        assert bench.read(name) == 0xFFF80


def test_srrctl_of_a_running_queue(bench: Bench) -> None:
    bench.write("SRRCTL", 0x02000402)
    bench.write("RXDCTL", ENABLE)
    bench.write("SRRCTL", 0x12000402)
    assert bench.misuses() == [], "Linux and DPDK switch DROP_EN of running queues"
    bench.write("SRRCTL", 0x12000404)
    assert bench.misuses() == ["SRRCTL(0): 0x12000404 written while the queue is enabled"]


def test_mtqc_wants_the_arbiter_stopped(bench: Bench) -> None:
    bench.write("RTTDCS", bench.read("RTTDCS") | 1 << 6)
    bench.write("MTQC", 0)
    bench.write("RTTDCS", bench.read("RTTDCS") & ~(1 << 6))
    assert bench.misuses() == []
    bench.write("MTQC", 0)
    assert bench.misuses() == ["MTQC(0): 0x0 written while RTTDCS.ARBDIS is 0"]


def test_tx_queue_before_te(bench: Bench) -> None:
    bench.write("TXDCTL", ENABLE, 1)
    assert bench.read("TXDCTL", 1) == ENABLE
    assert bench.misuses() == ["TXDCTL(1): ENABLE set while DMATXCTL.TE is 0"]


@pytest.mark.parametrize("name", ["STATUS", "LINKS", "FWSM", "SECRXSTAT", "SECTXSTAT", "FACTPS"])
def test_writes_to_read_only_registers(bench: Bench, name: str) -> None:
    before = bench.read(name)
    bench.write(name, 0xFFFFFFFF)
    assert bench.read(name) == before
    (entry,) = bench.port.faults()["recent"]
    assert (entry["kind"], entry["address"]) == ("register_misuse", bench.at(name))
    assert bench.port.faults()["by_kind"] == {"register_misuse": 1}


def test_only_the_last_64_faults_are_kept(bench: Bench) -> None:
    for _ in range(100):
        bench.write("STATUS", 0)
    faults = bench.port.faults()
    assert faults["total"] == 100
    assert len(faults["recent"]) == 64


def test_indirect_registers(bench: Bench) -> None:
    for queue in range(128):
        bench.write("RTTDQSEL", queue)
        bench.write("RTTBCNRC", queue + 1)
        bench.write("PFQDE", 1 << 16 | queue << 8 | queue & 1)
    for queue in range(128):
        bench.write("RTTDQSEL", queue)
        assert bench.read("RTTBCNRC") == queue + 1
        bench.write("PFQDE", 1 << 17 | queue << 8)
        assert bench.read("PFQDE") & 1 == queue & 1


def test_hardware_bits_of_plain_registers(bench: Bench) -> None:
    bench.write("RDRXCTL", 0)
    assert bench.read("RDRXCTL") == 8, "DMAIDONE is hardware's"
    bench.write("DTXMXSZRQ", 0xFFFF)
    assert bench.read("DTXMXSZRQ") == 0xFFF
    bench.write("MSRWD", 0xFFFFFFFF)
    assert bench.read("MSRWD") == 0xFFFF
    bench.write("HICR", 0xFFFFFFFF)
    assert not bench.read("HICR") & 1


# Statistics


def test_counters_clear_on_read(bench: Bench) -> None:
    bench.datapath.stats.gprc = 1000
    assert [bench.read("GPRC") for _ in range(2)] == [1000, 0]
    bench.datapath.stats.gprc += 5
    assert bench.read("GPRC") == 5
    bench.write("GPRC", 77)
    assert bench.read("GPRC") == 0


def test_counters_saturate(bench: Bench) -> None:
    bench.datapath.stats.gprc = 2**32 + 7
    assert bench.read("GPRC") == 0xFFFFFFFF
    bench.datapath.stats.gprc += 3
    assert bench.read("GPRC") == 3, "what did not fit is lost, later frames count from 0"


def test_pairs_clear_each_half_on_its_own(bench: Bench) -> None:
    bench.datapath.stats.gorc = 5 * 2**32 + 99
    assert bench.read("GORCL") == 99
    bench.datapath.stats.gorc += 1
    assert bench.read("GORCH") == 5
    assert bench.read("GORCL") == 1
    assert bench.read("GORCH") == 0


def test_a_pair_read_as_64_bits(bench: Bench) -> None:
    bench.datapath.stats.gotc = 3 * 2**32 + 4
    assert int.from_bytes(bench.port.region_read(0, bench.at("GOTCL"), 8), "little") == 3 * 2**32 + 4


def test_pairs_saturate_at_36_bits(bench: Bench) -> None:
    bench.datapath.stats.tor = 2**40
    assert bench.read("TORL") == 0xFFFFFFFF
    assert bench.read("TORH") == 0xF
    assert (bench.read("TORL"), bench.read("TORH")) == (0, 0)


def test_runs_of_counters(bench: Bench) -> None:
    for n in range(16):
        bench.datapath.stats.qprc[n] = n + 1
        bench.datapath.stats.qptc[n] = n + 101
        bench.datapath.stats.qbtc[n] = n << 32 | 7
    assert [bench.read("QPRC", n) for n in range(16)] == list(range(1, 17))
    assert bench.read_at(0x8680) == 101, "QPTC's other place"
    assert bench.read("QPTC", 0) == 0
    assert [bench.read("QPTC", n) for n in range(1, 16)] == list(range(102, 117))
    assert [bench.read("QBTC_H", n) for n in range(16)] == list(range(16))
    assert [bench.read("QBTC_L", n) for n in range(16)] == [7] * 16


def test_reset_clears_counters(bench: Bench) -> None:
    bench.datapath.stats.gprc = 10
    bench.datapath.stats.rxmpc[3] = 10
    bench.datapath.stats.gorc = 1 << 33
    bench.write("CTRL", RST)
    assert [bench.read(name) for name in ("GPRC", "GORCL", "GORCH")] == [0, 0, 0]
    assert bench.read("RXMPC", 3) == 0


# Configuration space


def test_capabilities_are_where_drivers_expect_them(bench: Bench) -> None:
    assert bench.config(0, 4) == 0x10FB8086
    assert bench.config(8, 4) == 0x02000001
    chain = []
    at = bench.config(0x34, 1)
    while at:
        chain.append((at, bench.config(at, 1)))
        at = bench.config(at + 1, 1)
    assert chain == [(0x40, 0x01), (0x50, 0x05), (0x70, 0x11), (0xA0, 0x10)]
    assert bench.config(0x72, 2) & 0x7FF == 63
    assert bench.config(0xAA, 2) == 0, "no transactions pending"
    assert bench.config(0xB2, 2) & 0xF == 2
    assert bench.config(0x44, 2) & 3 == 0, "D0"
    assert bench.config(0x100, 4) == 0, "no extended capabilities"


def test_bar_sizing(bench: Bench) -> None:
    for bar, size in ((0x10, 512 * 1024), (0x20, 16 * 1024)):
        bench.write_config(bar, 4, 0xFFFFFFFF)
        bench.write_config(bar + 4, 4, 0xFFFFFFFF)
        value = bench.config(bar, 4) | bench.config(bar + 4, 4) << 32
        assert value & 0xF == 0xC, "64 bits, prefetchable"
        assert (1 << 64) - (value & ~0xF) == size
    bench.write_config(0x18, 4, 0xFFFFFFFF)
    assert bench.config(0x18, 4) == 0


def test_read_only_configuration(bench: Bench) -> None:
    before = bench.port.region_read(7, 0, 64)
    bench.port.region_write(7, 0, b"\xff" * 4)
    bench.write_config(0x34, 1, 0)
    assert bench.port.region_read(7, 0, 64) == before


def test_bus_master_follows_the_command_register(bench: Bench) -> None:
    bench.write_config(4, 1, 4)
    assert bench.datapath.bus_master
    bench.write_config(4, 2, 0x2)
    assert not bench.datapath.bus_master


def test_msix_table(bench: Bench) -> None:
    entry = bytes(range(12)) + b"\0\0\0\0"
    assert bench.port.region_read(4, 12, 4) == b"\1\0\0\0", "masked"
    bench.port.region_write(4, 16, entry)
    assert bench.port.region_read(4, 16, 16) == entry
    bench.port.region_write(4, 0x2000, b"\xff" * 8)
    assert bench.port.region_read(4, 0x2000, 8) == bytes(8), "pending bits are the device's"


def test_a_wrong_mac_address_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="port p9: 'nonsense' is no MAC address"):
        SimulatedPort(PortSpec("p9", "", "nonsense", NoWire()), FakePort("p9"), build_register_map())  # type: ignore[arg-type]


def test_mmap_offer() -> None:
    assert Bench(offer_mmap=True).datapath.tail_mapped
    assert not Bench(offer_mmap=False).datapath.tail_mapped
    assert MAC
