"""Whatever the device does, both engines leave the same bytes in the arena and the same frames in the batches."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ixyfwd.programs.work import Place, bind_program
from ixyfwd.telemetry.counters import PORT_BLOCK_WORD, PORT_BLOCK_WORDS, PortWord
from tests.testing.fake_nic import ENGINES, EVERY_ENGINE, Frame, Rig
from tests.testing.support import ROOT

LENGTHS = st.integers(60, 1518)
FRAMES = st.builds(
    Frame,
    pieces=st.one_of(LENGTHS.map(lambda n: (n,)), st.lists(LENGTHS, min_size=2, max_size=4).map(tuple)),
    rss_hash=st.integers(0, 2**32 - 1),
    status=st.sampled_from([0, 0, 0, 0x40, 1 << 29, 1 << 31]),
    vlan=st.integers(0, 0xFFFF),
)
PORTS = st.integers(0, 1)
OPERATIONS = st.one_of(
    st.tuples(st.just("receive"), PORTS, st.lists(FRAMES, min_size=1, max_size=40)),
    st.tuples(st.just("transmit"), PORTS, st.integers(1, 80)),
    st.tuples(st.just("forward"), PORTS, st.integers(1, 3)),
    st.tuples(st.just("clean"), PORTS, st.none()),
)


def play(
    engine: str, segmented: bool, batch_size: int, buffers: int, operations: list[tuple[str, int, object]]
) -> list[object]:
    """Everything that can be observed after each step."""
    rig = Rig(engine, ports=2, ring_size=64, buffers=buffers, segmented=segmented)
    rig.start()
    batch = rig.engine.new_batch(batch_size)
    seen: list[object] = [rig.content()]
    for name, port, argument in operations:
        nic = rig.nic[port]
        match name, argument:
            case "receive", list(arriving):
                seen.append([nic.receive(frame) for frame in arriving])
            case "transmit", int(limit):
                seen.append(nic.transmit(limit))
            case "forward", int(times):
                for _ in range(times):
                    count = rig.rx(port, batch)
                    columns = (batch.ids, batch.lengths, batch.hashes, batch.status)
                    seen.append([column[:count].tolist() for column in columns])
                    seen.append(rig.tx(1 - port, batch))
            case "clean", _:
                seen.append(rig.engine.tx(port).clean())
        rig.check(batch)
        seen.append(rig.content())
    seen.append([nic.sent_pieces for nic in rig.nic])
    rig.engine.close()
    return seen


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    segmented=st.booleans(),
    batch_size=st.sampled_from([1, 3, 8, 32, 64, 100]),
    buffers=st.sampled_from([128, 150, 200, 400]),
    operations=st.lists(OPERATIONS, max_size=25),
)
def test_both_engines_leave_the_same_bytes(
    segmented: bool, batch_size: int, buffers: int, operations: list[tuple[str, int, object]]
) -> None:
    native, vector = (play(engine, segmented, batch_size, buffers, operations) for engine in ENGINES)
    assert len(native) == len(vector)
    for step, (a, b) in enumerate(zip(native, vector, strict=True)):
        assert a == b, f"step {step}"


@pytest.mark.parametrize("engine", EVERY_ENGINE)
def test_touch_increments_one_byte_of_frames_that_have_it(engine: str) -> None:
    rig = Rig(engine, ports=2)
    rig.start()
    batch = rig.engine.new_batch(16)
    touch = rig.program("touch", batch)
    lengths = [60, 49, 48, 20, 1514, 64]
    for length in lengths:
        assert rig.nic[0].receive(Frame((length,)))
    assert rig.rx(0, batch) == len(lengths)
    offsets = [rig.offsets[buffer] for buffer in batch.ids[: batch.count]]
    before = [bytes(rig.arena[offset : offset + 64]) for offset in offsets]
    touch()
    for length, offset, old in zip(lengths, offsets, before, strict=True):
        new = bytearray(old)
        if length > 48:
            new[48] = (old[48] + 1) % 256
        assert bytes(rig.arena[offset : offset + 64]) == new
    assert batch.count == len(lengths)


def test_xconnect_has_nothing_to_do() -> None:
    rig = Rig("vector", ports=2)
    place = Place(rig.engine, rig.engine.new_batch(8), 0, 0)
    assert bind_program("xconnect", {}, place) is None


def test_a_native_worker_imports_no_numpy_and_a_vector_worker_no_c() -> None:
    probe = "import sys; from tests.testing.fake_nic import Rig; Rig('{}'); print(*sys.modules)"
    loaded = {
        engine: set(
            subprocess.run(
                [sys.executable, "-c", probe.format(engine)], cwd=ROOT, capture_output=True, text=True, check=True
            ).stdout.split()
        )
        for engine in ENGINES
    }
    assert "numpy" not in loaded["native"]
    c = {"ixyfwd.engine._native", "ixyfwd.nic.ixgbe.rings._ixgbe"}
    assert c <= loaded["native"]
    assert "numpy" in loaded["vector"]
    assert not c & loaded["vector"]


def test_c_and_python_agree_on_the_counters_page() -> None:
    """C counts in the words that telemetry/counters.py names: counted on the page itself."""
    rig = Rig("native", ports=2)
    rig.start()
    batch = rig.engine.new_batch(8)
    assert rig.nic[1].receive(Frame((100,)))
    assert rig.nic[1].receive(Frame((100,), status=1 << 29))
    rig.rx(1, batch)
    rig.tx(0, batch)
    page = rig.arena[rig.layout.counters : rig.layout.counters + 4096].cast("Q")
    nonzero = {i: value for i, value in enumerate(page) if value}
    block = PORT_BLOCK_WORD + PORT_BLOCK_WORDS
    assert nonzero == {
        block + PortWord.RX_PACKETS: 2,
        block + PortWord.RX_BYTES: 200,
        block + PortWord.RX_ERRORS: 1,
        PORT_BLOCK_WORD + PortWord.TX_PACKETS: 1,
        PORT_BLOCK_WORD + PortWord.TX_BYTES: 100,
    }
