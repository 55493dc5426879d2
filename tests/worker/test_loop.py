"""The poll loop and the idle policies, with rings made of lists."""

import mmap
from collections.abc import Callable

import pytest

from ixyfwd.roles.work import SHARED_CPU_ROUNDS, Fused, Step
from ixyfwd.telemetry.counters import NO_PAUSES, NOT_LOOKED, PAGE_BYTES, Command, State, Word
from ixyfwd.worker.idle import SPIN_ROUNDS, WAITED, YIELD_ROUNDS, Idle, Rest
from ixyfwd.worker.loop import HOUSEKEEPING_ROUNDS, PollLoop
from ixyfwd.worker.pauses import Pauses
from ixyfwd.worker.spec import IdlePolicy


class Bench:
    """A counters page, a clock that moves by itself, and a script of what each rx finds."""

    def __init__(self) -> None:
        self.page = memoryview(mmap.mmap(-1, PAGE_BYTES)).cast("Q")
        self.now_ns = 0
        self.sent: list[str] = []

    def clock(self) -> int:
        self.now_ns += 10
        return self.now_ns

    def step(self, name: str, script: list[int], program: Callable[[], object] | None = None) -> Step:
        """Finds what `script` says; when it is used up, asks the loop to drain and finds nothing."""

        def rx() -> int:
            if script:
                return script.pop(0)
            if self.page[Word.COMMAND] == Command.RUN:
                self.page[Word.COMMAND] = Command.DRAIN
            elif self.page[Word.STATE] == State.DRAINED:
                raise AssertionError("polled after it said that it is drained")
            return 0

        def tx() -> int:
            self.sent.append(name)
            return 1

        return Step(rx, program, tx)

    def _sleep(self, _: float) -> None:
        if self.page[Word.STATE] == State.DRAINED:
            self.page[Word.COMMAND] = Command.QUIT

    def taking(self, *times_ns: int) -> Callable[..., int]:
        """A program or rest: each call takes the next of `times_ns` of the bench's time, the last one for ever."""
        left = list(times_ns)

        def call(_: int = 0) -> int:
            self.now_ns += left.pop(0) if len(left) > 1 else left[0]
            return 0

        return call

    def run(
        self,
        *steps: Step | Fused,
        shared_cpu: bool = False,
        policy: IdlePolicy = "spin",
        pause_ns: int = NO_PAUSES,
        rest: Rest | None = None,
    ) -> Idle:
        """Run the loop to DRAINED; then it waits for QUIT, which a sleep gives."""
        idle = Idle(policy, shared_cpu)
        work = steps[0] if isinstance(steps[0], Fused) else [step for step in steps if isinstance(step, Step)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ixyfwd.worker.loop.time.sleep", self._sleep)
            for clock in ("monotonic_ns", "thread_time_ns"):
                patch.setattr(f"ixyfwd.worker.loop.time.{clock}", self.clock)
            if rest is not None:
                patch.setattr(idle, "rest", rest)
            PollLoop(work, self.page, idle, shared_cpu, Pauses(self.page, pause_ns)).run()
        return idle


def test_sends_what_was_received_and_only_then() -> None:
    bench = Bench()
    bench.run(bench.step("a", [3, 0, 2]), bench.step("b", [0, 0, 1]))
    assert bench.sent == ["a", "a", "b"]


def test_program_runs_between_rx_and_tx_only_for_frames() -> None:
    bench = Bench()
    bench.run(bench.step("tx", [1, 0, 5], program=lambda: bench.sent.append("program")), bench.step("plain", [1]))
    assert bench.sent == ["program", "tx", "plain", "program", "tx"]


def test_states_and_counters() -> None:
    bench = Bench()
    bench.run(bench.step("a", [1] * 300))
    page = bench.page
    assert page[Word.STATE] == State.DRAINED
    assert page[Word.BURSTS] == 300
    assert page[Word.POLLS] == page[Word.EMPTY_POLLS] + 300
    assert page[Word.HEARTBEAT] >= 300 // HOUSEKEEPING_ROUNDS
    assert page[Word.FIRST_TX_NS] > 0


def test_busy_time_is_the_rounds_that_found_something() -> None:
    """Each spell costs one clock step (from the last empty round to the first one after it), idling nothing."""
    bench = Bench()
    bench.run(bench.step("a", [0, 0, 0, 1, 1, 1, 0, 0, 1, 0]))
    assert bench.page[Word.BUSY_NS] == 20  # two spells of one step


def test_busy_time_is_counted_while_the_spell_lasts() -> None:
    bench = Bench()
    bench.run(bench.step("a", [1] * (10 * HOUSEKEEPING_ROUNDS)))
    assert bench.page[Word.BUSY_NS] >= 9 * 10  # one step per housekeeping at least


def test_a_busy_worker_takes_turns_where_the_cpu_is_shared() -> None:
    script = [1] * (5 * SHARED_CPU_ROUNDS)
    bench = Bench()
    assert bench.run(bench.step("a", list(script)), shared_cpu=True).yields == 5
    alone = Bench()
    assert alone.run(alone.step("a", list(script)), shared_cpu=False).yields == 0


def fused(bench: Bench, script: list[tuple[int, int]]) -> Fused:
    """Each call finds what `script` says: bursts, empty rounds at its end."""

    def call() -> int:
        if script:
            bursts, silent = script.pop(0)
            bench.page[Word.BURSTS] += bursts
            return bursts << 16 | silent
        if bench.page[Word.COMMAND] == Command.RUN:
            bench.page[Word.COMMAND] = Command.DRAIN
        return 1

    return Fused(call, call)


def test_the_fused_loop_keeps_the_same_words() -> None:
    bench = Bench()
    script = [(0, 16), (5, 1), (0, 16), (700, 0), (300, 0), (2, 1)]
    idle = bench.run(fused(bench, script))
    assert not script
    assert bench.page[Word.STATE] == State.DRAINED
    assert bench.page[Word.FIRST_TX_NS] > 0
    assert bench.page[Word.HEARTBEAT] >= 3
    assert bench.page[Word.BUSY_NS] == 0  # the loop itself counts it
    assert idle.yields == 0


def test_the_fused_loop_gives_way_after_traffic_where_the_cpu_is_shared() -> None:
    bench = Bench()
    assert bench.run(fused(bench, [(0, 1), (5, 1), (0, 1), (8, 0), (3, 1)]), shared_cpu=True).yields == 3


def test_the_fused_loop_counts_silence_by_calls() -> None:
    """A call's empty rounds in C last as long as one of Python's: the idle policies mean the same with both loops."""
    bench = Bench()
    idle = bench.run(fused(bench, [(0, 16)] * 3 + [(1, 1)]), policy="sleep")
    assert idle.sleeps >= 4


def test_drain_stops_at_the_first_empty_round() -> None:
    bench = Bench()
    bench.page[Word.COMMAND] = Command.DRAIN
    bench.run(bench.step("a", [2, 2]))
    assert bench.sent == ["a", "a"]
    assert bench.page[Word.POLLS] == 3


@pytest.mark.parametrize(
    ("policy", "shared", "rounds", "yields", "sleeps"),
    [
        ("spin", False, 10_000, 0, 0),
        ("adaptive", False, SPIN_ROUNDS, 0, 0),
        ("adaptive", False, SPIN_ROUNDS + 5, 5, 0),
        ("adaptive", False, SPIN_ROUNDS + YIELD_ROUNDS + 7, YIELD_ROUNDS, 7),
        ("adaptive", True, 3, 2, 0),
        ("sleep", False, 4, 0, 4),
    ],
)
def test_idle_policies(policy: str, shared: bool, rounds: int, yields: int, sleeps: int) -> None:
    slept: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ixyfwd.worker.idle.time.sleep", slept.append)
        idle = Idle(policy, shared)  # type: ignore[arg-type]
        for empty_rounds in range(1, rounds + 1):
            idle.rest(empty_rounds)
    assert (idle.yields, idle.sleeps, len(slept)) == (yields, sleeps, sleeps)
    assert all(0 < seconds < 1e-3 for seconds in slept)


USUAL = [1, 0] * 10
"""Bursts that cost 10 ns each: what the following ones are judged by."""


def pauses(bench: Bench) -> tuple[int, int, int]:
    words = (Word.PAUSES, Word.PAUSED_NS, Word.LONGEST_PAUSE_NS)
    count, total, longest = (bench.page[word] for word in words)
    return count, total, longest


def test_time_that_bursts_do_not_explain_is_a_pause() -> None:
    bench = Bench()
    program = bench.taking(*[0] * 10, 5000, 900, 7000)
    bench.run(bench.step("a", [*USUAL, 1, 0, 1, 0, 1, 0], program), pause_ns=1000)
    count, total, longest = pauses(bench)
    assert count == 2
    assert longest == pytest.approx(7000, rel=0.02)
    assert total == pytest.approx(12_000, rel=0.02)


def test_a_pause_is_seen_without_frames_and_between_two_looks_around() -> None:
    bench = Bench()
    bench.run(bench.step("a", [*USUAL, *[0] * 20]), pause_ns=1000, rest=bench.taking(*[0] * 15, 5000, 0))
    assert pauses(bench)[0] == 1
    busy = Bench()
    busy.run(busy.step("a", [*USUAL, *[1] * 591], busy.taking(*[0] * 300, 5000, 0)), pause_ns=1000)
    assert pauses(busy)[0] == 1, "the spell is longer than the time between two looks around"


def test_a_forwarder_that_is_always_too_slow_has_no_pauses() -> None:
    bench = Bench()
    bench.run(bench.step("a", [1] * (20 * HOUSEKEEPING_ROUNDS), bench.taking(3000)), pause_ns=1000)
    assert bench.page[Word.BUSY_NS] > 0
    assert pauses(bench) == (0, 0, 0)


@pytest.mark.parametrize(
    ("meant_ns", "took_ns", "counted_ns"),
    [(0, 5000, 5000), (20_000, 20_500, 0), (20_000, 26_000, 6000), (WAITED, 100_000, 0)],
)
def test_a_rest_is_a_pause_as_far_as_it_was_not_meant_to_be(meant_ns: int, took_ns: int, counted_ns: int) -> None:
    bench = Bench()
    first = iter([True])

    def rest(_: int) -> int:
        if bench.page[Word.BURSTS] and next(first, False):
            bench.now_ns += took_ns
            return meant_ns
        return 0

    bench.run(bench.step("a", [*[1, 0] * HOUSEKEEPING_ROUNDS, 0, 0]), pause_ns=1000, rest=rest)
    count, total, _ = pauses(bench)
    assert count == bool(counted_ns)
    assert total == pytest.approx(counted_ns, abs=20)


def test_no_pauses_are_counted_before_the_first_frame_nor_where_the_cpu_is_shared() -> None:
    bench = Bench()
    bench.run(bench.step("a", [0] * 5), pause_ns=1000, rest=bench.taking(5000))
    assert pauses(bench) == (0, 0, 0)
    shared = Bench()
    shared.run(shared.step("a", list(USUAL), shared.taking(5000)), shared_cpu=True)
    assert pauses(shared) == (0, 0, 0)


def test_the_fused_loop_is_told_what_a_rest_was_meant_to_take() -> None:
    bench = Bench()
    rests = iter([0, 20_000, 200_000] + [0] * 100)
    seen: list[int] = []
    calls = fused(bench, [(0, 16)] * 6)

    def call() -> int:
        seen.append(bench.page[Word.LOOKED_NS])
        return calls.forward()

    bench.run(Fused(call, call), rest=lambda _: next(rests))
    assert seen[:4] == [0, 0, 20_000, 220_000]
    waits = Bench()
    waits.run(fused(waits, [(0, 16)]), rest=lambda _: WAITED)
    assert waits.page[Word.LOOKED_NS] == NOT_LOOKED
