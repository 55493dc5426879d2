"""A million accesses of every width to every region: no exception, no all-ones, and a reset makes everything new."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ixyfwd.model.chip.pciconfig import BAR0_BYTES, BAR4_BYTES, CONFIG_BYTES
from ixyfwd.model.chip.profiles import build_register_map
from ixyfwd.model.chip.registers import WRITE_MODES
from ixyfwd.model.datapath.binding import Datapath
from ixyfwd.model.port import KEPT_OVER_RESET, SimulatedPort
from ixyfwd.model.spec import PortSpec
from ixyfwd.model.wires.none import NoWire
from ixyfwd.vfiouser.protocol import Region, RequestError
from tests.testing.model_fakes import MAC, Bench, Clock

ACCESSES = 1_000_000
CTRL_RST = 1 << 26
SIZES = {Region.BAR0: BAR0_BYTES, Region.BAR4: BAR4_BYTES, Region.CONFIG: CONFIG_BYTES}
WIDTHS = (4, 4, 4, 4, 8, 8, 1, 2, 3, 5, 7, 16)
WORDS = (0, 1, 0xFFFFFFFF, 0x80000000, 1 << 25, 1 << 26, 0x0000FFFF, 0x00000700)


@contextmanager
def real_port(clock: Clock) -> Iterator[tuple[Datapath, SimulatedPort]]:
    """One port on the real data path, driven without a socket."""
    datapath = Datapath(["p0"])
    spec = PortSpec("p0", "/unused", MAC, NoWire(), 0x10FB, False)
    try:
        yield datapath, SimulatedPort(spec, datapath.ports[0], build_register_map(), clock)
    finally:
        datapath.close()


def registers_now(port: SimulatedPort) -> dict[int, int]:
    """What a read of each register gives; those that clear are read, too."""
    return {at: int.from_bytes(port.region_read(0, at, 4), "little") for at in sorted(build_register_map().at)}


def play(accesses: int, seed: int) -> None:
    chance = random.Random(seed)
    offsets = sorted(build_register_map().at)
    clock = Clock()
    with real_port(clock) as (datapath, port):
        for number in range(accesses):
            kind = chance.random()
            region = Region.BAR0 if kind < 0.9 else Region.CONFIG if kind < 0.95 else Region.BAR4
            width = chance.choice(WIDTHS)
            if region == Region.BAR0 and kind < 0.85:
                offset = max(0, chance.choice(offsets) + (chance.randrange(-3, 4) if kind < 0.1 else 0))
            else:
                offset = chance.randrange(SIZES[region] + 8)
            legal = offset + width <= SIZES[region]
            try:
                if chance.random() < 0.5:
                    assert len(port.region_read(region, offset, width)) == width
                else:
                    word = chance.choice(WORDS) if kind < 0.5 else chance.getrandbits(32)
                    port.region_write(region, offset, (word.to_bytes(4, "little") * 4)[:width])
            except RequestError:
                assert not legal
            if number % 64 == 0:
                clock.ns += 1000
                port.tick()
                datapath.run(-1, 0, False)
        port.disconnect()
        used = registers_now(port)
    with real_port(clock) as (_, fresh):
        assert used == registers_now(fresh)


def test_random_accesses() -> None:
    play(30_000, 1)


@pytest.mark.slow
def test_a_million_random_accesses() -> None:
    play(ACCESSES, 82599)


class Registers(RuleBasedStateMachine):
    """One port on a fake data path, so that hypothesis can shrink what it finds."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench()
        self.known = self.bench.map.at
        self.offsets = sorted(self.known)
        self.last = 0

    @rule(offset=st.integers(0, BAR0_BYTES - 8), count=st.sampled_from([4, 8]))
    def read_nothing(self, offset: int, count: int) -> None:
        """Unimplemented words read 0."""
        data = self.bench.port.region_read(0, offset & ~3, count)
        for at in range(0, count, 4):
            if (offset & ~3) + at not in self.known:
                assert data[at : at + 4] == bytes(4)

    @rule(pick=st.integers(0, 1 << 16), value=st.integers(0, 0xFFFFFFFF))
    def write(self, pick: int, value: int) -> None:
        """A plain register takes the bits of its mask and no others; a read-only one none."""
        offset = self.offsets[pick % len(self.offsets)]
        row = self.known[offset].register
        plain = row.read == "plain" and row.write in WRITE_MODES
        before = self.bench.read_at(offset) if plain else 0
        self.bench.write_at(offset, value)
        expected = {
            "plain": before & ~row.mask | value & row.mask,
            "w1c": before & ~(value & row.mask),
            "w1s": before | value & row.mask,
        }
        if plain:
            assert self.bench.read_at(offset) == expected.get(row.write, before), row.name

    @rule(offset=st.integers(0, BAR0_BYTES - 16), data=st.binary(min_size=1, max_size=15))
    def write_oddly(self, offset: int, data: bytes) -> None:
        self.bench.port.region_write(0, offset, data)
        assert len(self.bench.port.region_read(0, offset, len(data))) == len(data)

    @rule(region=st.sampled_from([Region.CONFIG, Region.BAR4]), at=st.floats(0, 1), data=st.binary(min_size=1))
    def write_elsewhere(self, region: Region, at: float, data: bytes) -> None:
        offset = int(at * SIZES[region])
        try:
            self.bench.port.region_write(region, offset, data[:8])
        except RequestError:
            assert offset + len(data[:8]) > SIZES[region]

    @rule(milliseconds=st.integers(0, 20))
    def wait(self, milliseconds: int) -> None:
        self.bench.pass_ms(milliseconds)

    @rule()
    def reset(self) -> None:
        """CTRL.RST: as after power-on, but for the semaphores and what follows the configuration space."""
        self.bench.write_at(0, CTRL_RST)
        fresh = Bench()
        for cell in self.bench.map.cells():
            name = cell.register.name
            if name not in KEPT_OVER_RESET and name != "STATUS":
                now, new = (bench.port._file.peek(name, cell.number) for bench in (self.bench, fresh))
                assert now == new, (name, cell.number)

    @invariant()
    def the_device_is_there(self) -> None:
        assert self.bench.read("STATUS") != 0xFFFFFFFF


TestRegisters = pytest.mark.slow(Registers.TestCase)
TestRegisters.settings = settings(max_examples=12, stateful_step_count=50, deadline=None)
