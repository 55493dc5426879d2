"""Verdicts: counted, carried out and accounted for, alike in all engines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixyfwd.engine import verdict
from ixyfwd.engine.verdict import PASS, drop_for, out_of
from ixyfwd.telemetry.counters import DROP_CAUSES, PROGRAM_COUNTERS, PortWord, ProgramWord
from tests.testing.fake_nic import ENGINES, EVERY_ENGINE, KINDS, Frame, MakeRig, Rig

FORWARDED = {ProgramWord.PASSED, ProgramWord.OUT}
INVALID = [3 << 24, 0xFF << 24, out_of(7), drop_for(DROP_CAUSES), 1 << 8, out_of(1) | 1 << 23, drop_for(0) | 1 << 8]
VERDICTS = st.one_of(
    st.just(PASS),
    st.integers(0, 2).map(out_of),
    st.integers(0, DROP_CAUSES - 1).map(drop_for),
    st.sampled_from(INVALID),
    st.integers(0, 2**32 - 1),
)


def word_of(value: int, ports: int) -> int:
    """What counts a verdict, spelt out again."""
    if value == 0:
        return ProgramWord.PASSED
    if value >> 24 == 1 and value & 0xFFFFFF < ports:
        return ProgramWord.OUT
    if value >> 24 == 2 and value & 0xFFFFFF < DROP_CAUSES:
        return ProgramWord.DROPS + (value & 0xFF)
    return ProgramWord.INVALID


def test_c_and_python_speak_of_the_same_verdicts() -> None:
    from ixyfwd.engine._native import lib

    assert (lib.VERDICT_ACTION_SHIFT, lib.VERDICT_TARGET_MASK) == (verdict.ACTION_SHIFT, verdict.TARGET_MASK)
    assert lib.VERDICT_RESERVED_MASK == verdict.RESERVED_MASK
    assert {name: getattr(lib, f"ACTION_{name}") for name in verdict.Action.__members__} == dict(
        verdict.Action.__members__
    )
    names = ("IN", "PASSED", "OUT", "INVALID", "DROPS", "COUNTERS")
    assert {name: getattr(lib, f"PROGRAM_{name}") for name in names} == dict(ProgramWord.__members__)
    assert lib.PROGRAM_DROP_CAUSES == DROP_CAUSES
    assert ProgramWord.DROPS + DROP_CAUSES == ProgramWord.COUNTERS
    assert ProgramWord.COUNTERS + PROGRAM_COUNTERS == 32


def test_a_batch_passes_unless_a_program_says_otherwise(make_rig: MakeRig) -> None:
    rig = make_rig(ports=2)
    rig.start()
    batch = rig.engine.new_batch(8)
    batch.verdicts[0] = 7
    for _ in range(3):
        assert rig.nic[0].receive(Frame((60,)))
    rig.rx(0, batch)
    assert rig.engine.bind_pass_all(batch)() == 3
    assert batch.verdicts[:3].tolist() == [PASS] * 3
    assert rig.engine.bind_settle(batch, 0)() == 3
    assert rig.program_words() == {ProgramWord.IN: 3, ProgramWord.PASSED: 3}
    assert rig.engine.bind_dispatch(batch, 1)() == 3
    assert batch.count == 0
    rig.nic[1].poll_doorbells()
    assert rig.nic[1].transmit(3) == 3
    rig.check(batch)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@given(verdicts=st.lists(VERDICTS, min_size=1, max_size=40), index=st.integers(0, 15), passed_to=st.integers(0, 2))
def test_every_verdict_is_counted_once_and_every_frame_goes_where_it_says(
    kind: str, verdicts: list[int], index: int, passed_to: int
) -> None:
    rig = KINDS[kind](ports=3)
    rig.start()
    batch = rig.engine.new_batch(64)
    lengths = [60 + i for i in range(len(verdicts))]
    for length in lengths:
        assert rig.nic[0].receive(Frame((length,)))
    assert rig.rx(0, batch) == len(verdicts)
    for i, value in enumerate(verdicts):
        batch.verdicts[i] = value
    words = [word_of(value, 3) for value in verdicts]
    kept = [i for i, word in enumerate(words) if word in FORWARDED]
    assert rig.engine.bind_settle(batch, index)() == len(kept)
    counted = rig.program_words(index)
    assert counted.pop(ProgramWord.IN) == len(verdicts) == sum(counted.values())
    assert counted == {word: words.count(word) for word in set(words)}
    assert batch.lengths[: batch.count].tolist() == [lengths[i] for i in kept]
    assert batch.verdicts[: batch.count].tolist() == [verdicts[i] for i in kept]
    rig.check(batch)
    assert rig.engine.bind_dispatch(batch, passed_to)() == len(kept)
    assert batch.count == 0
    ports = [verdicts[i] & 0xFF if verdicts[i] else passed_to for i in kept]
    for port in range(3):
        mine = [lengths[i] for i, out in zip(kept, ports, strict=True) if out == port]
        rdt, tdt = rig.nic[port].poll_doorbells()
        assert rdt is None and (tdt is None) == (not mine)
        rig.nic[port].transmit(len(mine))
        assert [length for _, length in rig.nic[port].sent] == mine
        assert rig.counter(port, PortWord.TX_PACKETS) == len(mine)
    rig.check(batch)


@pytest.mark.parametrize("name", ENGINES)
def test_a_frame_of_several_buffers_has_one_verdict(name: str) -> None:
    rig = Rig(name, ports=2, segmented=True)
    rig.start()
    batch = rig.engine.new_batch(16)
    for pieces in ((2048, 2048, 100), (60,), (2048, 7), (61,)):
        assert rig.nic[0].receive(Frame(pieces))
    assert rig.rx(0, batch) == 7
    rig.engine.bind_pass_all(batch)()
    batch.verdicts[0] = drop_for(2)
    batch.verdicts[1] = out_of(1)  # of a later segment: nothing
    batch.verdicts[4] = out_of(1)
    assert rig.engine.bind_settle(batch, 0)() == 4
    words = {ProgramWord.IN: 4, ProgramWord.DROPS + 2: 1, ProgramWord.PASSED: 2, ProgramWord.OUT: 1}
    assert rig.program_words() == words
    rig.check(batch)
    assert rig.engine.bind_dispatch(batch, 0)() == 4
    for port, frames in ((0, [((60,)), ((61,))]), (1, [(2048, 7)])):
        rig.nic[port].poll_doorbells()
        rig.nic[port].transmit(sum(map(len, frames)))
        assert [tuple(length for _, length in pieces) for pieces in rig.nic[port].sent_pieces] == frames
    rig.check(batch)


def test_a_full_ring_drops_the_rest_and_counts_it(make_rig: MakeRig) -> None:
    rig = make_rig(ports=2)
    rig.start()
    batch = rig.engine.new_batch(32)
    sent = 0
    for _ in range(4):
        for _ in range(32):
            assert rig.nic[0].receive(Frame((60,)))
        rig.rx(0, batch)
        rig.engine.bind_pass_all(batch)()
        batch.verdicts[0] = out_of(0)  # so that the burst goes out of two ports
        sent += rig.engine.bind_dispatch(batch, 1)()
        rig.nic[0].poll_doorbells()
        rig.nic[0].transmit(1)
        rig.nic[1].poll_doorbells()
        rig.check(batch)
    assert sent == 4 + 63 and rig.counter(1, PortWord.TX_FULL) == 4 * 31 - 63
    rig.check(batch)


@pytest.mark.parametrize("name", EVERY_ENGINE)
@given(
    lengths=st.lists(st.integers(56, 200), min_size=1, max_size=40),
    every=st.one_of(st.none(), st.integers(0, 5)),
    shorter=st.one_of(st.none(), st.integers(64, 200)),
    longer=st.one_of(st.none(), st.integers(64, 200)),
)
def test_drop_does_what_its_settings_say(
    name: str, lengths: list[int], every: int | None, shorter: int | None, longer: int | None
) -> None:
    rig = Rig(name, ports=1)
    rig.start()
    batch = rig.engine.new_batch(64)
    drop = rig.program("drop", batch, index=2, every=every, shorter_than=shorter, longer_than=longer)
    for length in lengths:
        assert rig.nic[0].receive(Frame((length,)))
    rig.rx(0, batch)
    rig.engine.bind_pass_all(batch)()
    drop()
    rig.engine.bind_settle(batch, 2)()
    nth = every if every is not None else int(shorter is None and longer is None)
    left, causes, seen = [], [0, 0, 0], 0
    for length in lengths:
        if shorter is not None and length + 4 < shorter:
            causes[0] += 1
        elif longer is not None and length + 4 > longer:
            causes[1] += 1
        else:
            seen += 1
            if nth and seen % nth == 0:
                causes[2] += 1
            else:
                left.append(length)
    words = rig.program_words(2)
    assert [words.get(ProgramWord.DROPS + n, 0) for n in range(3)] == causes
    assert words.get(ProgramWord.COUNTERS, 0) == sum(lengths) - sum(left) + 4 * sum(causes)
    assert batch.lengths[: batch.count].tolist() == left
    rig.check(batch)


def test_what_is_bound_to_c_does_nothing_after_close() -> None:
    rig = Rig("native", ports=1)
    rig.start()
    batch = rig.engine.new_batch(8)
    calls = [
        rig.engine.bind_pass_all(batch), rig.program("drop", batch), rig.engine.bind_settle(batch, 0),
        rig.engine.bind_dispatch(batch, 0),
    ]  # fmt: skip
    assert rig.nic[0].receive(Frame((60,)))
    rig.rx(0, batch)
    rig.engine.close()
    before = rig.content()
    assert [call() for call in calls] == [0] * 4
    assert rig.content() == before
