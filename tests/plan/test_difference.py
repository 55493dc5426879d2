"""Differences between the workers that run and those that are wanted, applied to a machine made of objects."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ixyfwd.nic.rss import spread, steer
from ixyfwd.plan.difference import Rebuild, RunningWorkers, Silence, Stage, Start, Steer, Step, difference

WORKERS = 4
ALL = frozenset(range(WORKERS))
RING = 8  # buffers in each ring
BUFFERS = 24  # of each worker


def running(*stages: Stage, owners: frozenset[int] | None = None) -> RunningWorkers:
    return RunningWorkers(stages, frozenset(range(len(stages))) if owners is None else owners)


@pytest.mark.parametrize(
    ("now", "wanted", "steps"),
    [
        (running(Stage.READY, Stage.READY), {0, 1}, ()),
        (running(Stage.READY, Stage.DEAD), {0, 1}, (Steer(frozenset({0})), Silence(1))),
        (running(Stage.READY, Stage.LEAVING, owners=frozenset({0})), {0, 1}, (Rebuild(1),)),
        (running(Stage.READY, Stage.EMPTY, owners=frozenset({0})), {0, 1}, (Start(1),)),
        (running(Stage.READY, Stage.EMPTY, owners=frozenset({0})), {0}, ()),
        (running(Stage.READY, Stage.STARTING, owners=frozenset({0})), {0, 1}, ()),
        (running(Stage.READY, Stage.READY, owners=frozenset({0})), {0, 1}, (Steer(frozenset({0, 1})),)),
        (running(Stage.DEAD), {0}, (Silence(0),)),
        (running(Stage.DEAD, Stage.DEAD), set(), (Silence(0), Silence(1))),
        (running(Stage.READY, Stage.READY), {1}, (Steer(frozenset({1})),)),
    ],
)
def test_steps(now: RunningWorkers, wanted: set[int], steps: tuple[Step, ...]) -> None:
    assert difference(now, wanted) == steps


class Machine(RuleBasedStateMachine):
    """A port whose workers die at any moment, while frames arrive and leave and an executor takes its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = [Stage.READY] * WORKERS
        self.table = spread(WORKERS)
        self.owners = ALL
        self.wanted = set(ALL)
        self.free = [BUFFERS - RING] * WORKERS
        self.rx = [RING] * WORKERS  # buffers of rx slots; a filled slot has a frame
        self.filled = [0] * WORKERS
        self.hand = [0] * WORKERS
        self.tx = [0] * WORKERS
        self.done = [0] * WORKERS  # tx slots whose frames have left
        self.held = [0] * WORKERS  # by rings that are no more, until the free stack is rebuilt
        self.received = self.sent = self.dropped = self.died = 0

    def running(self) -> RunningWorkers:
        return RunningWorkers(tuple(self.stages), self.owners)

    @rule(entry=st.integers(0, 127))
    def a_frame_arrives(self, entry: int) -> None:
        queue = self.table[entry]
        self.received += 1
        if self.filled[queue] < self.rx[queue]:
            self.filled[queue] += 1
        else:
            self.dropped += 1

    @rule(worker=st.integers(0, WORKERS - 1))
    def a_worker_takes_a_frame(self, worker: int) -> None:
        if self.stages[worker] is Stage.READY and self.filled[worker] and self.free[worker]:
            self.filled[worker] -= 1
            self.free[worker] -= 1  # for the slot
            self.hand[worker] += 1

    @rule(worker=st.integers(0, WORKERS - 1))
    def a_worker_queues_its_frames(self, worker: int) -> None:
        if self.stages[worker] is Stage.READY:
            self.tx[worker] += self.hand[worker]
            self.hand[worker] = 0

    @rule(worker=st.integers(0, WORKERS - 1))
    def a_frame_leaves(self, worker: int) -> None:
        if self.tx[worker]:
            self.tx[worker] -= 1
            self.sent += 1
            self.done[worker] += 1

    @rule(worker=st.integers(0, WORKERS - 1))
    def a_worker_frees_what_has_left(self, worker: int) -> None:
        if self.stages[worker] is Stage.READY:
            self.free[worker] += self.done[worker]
            self.done[worker] = 0

    @rule(worker=st.integers(0, WORKERS - 1))
    def a_worker_dies(self, worker: int) -> None:
        if self.stages[worker] in {Stage.READY, Stage.STARTING}:
            self.stages[worker] = Stage.DEAD

    @rule(worker=st.integers(0, WORKERS - 1))
    def a_process_is_ready(self, worker: int) -> None:
        if self.stages[worker] is Stage.STARTING:
            self.free[worker] -= RING
            self.rx[worker] = RING
            self.stages[worker] = Stage.READY

    @rule(wanted=st.sets(st.integers(0, WORKERS - 1), min_size=1))
    def others_are_wanted(self, wanted: set[int]) -> None:
        self.wanted = wanted

    @rule(data=st.data())
    @precondition(lambda self: bool(difference(self.running(), self.wanted)))
    def a_step_is_taken(self, data: st.DataObject) -> None:
        """In their order: an executor may be interrupted by a death after each."""
        self.take(difference(self.running(), self.wanted)[0])

    def take(self, step: Step) -> None:
        match step:
            case Steer(queues):
                assert all(self.stages[queue] is Stage.READY for queue in queues)
                self.table, self.owners = steer(spread(WORKERS), WORKERS, sorted(queues)), queues
            case Silence(worker):
                assert self.stages[worker] is Stage.DEAD
                assert worker not in self.owners or not self.polling()
                self.died += self.filled[worker]
                self.held[worker] += self.rx[worker]
                self.filled[worker] = self.rx[worker] = 0
                self.stages[worker] = Stage.LEAVING
            case Rebuild(worker):
                self.died += self.hand[worker] + self.tx[worker]
                self.hand[worker] = self.tx[worker] = self.done[worker] = self.held[worker] = 0
                self.free[worker], self.stages[worker] = BUFFERS, Stage.EMPTY
            case Start(worker):
                assert self.stages[worker] is Stage.EMPTY and self.free[worker] == BUFFERS
                self.stages[worker] = Stage.STARTING

    def polling(self) -> set[int]:
        return {n for n, stage in enumerate(self.stages) if stage is Stage.READY and n in self.wanted}

    @invariant()
    def the_sum_closes(self) -> None:
        in_flight = sum(self.filled) + sum(self.hand) + sum(self.tx)
        assert self.received == self.sent + self.dropped + self.died + in_flight

    @invariant()
    def every_buffer_is_in_one_place(self) -> None:
        for worker in range(WORKERS):
            places = (self.free, self.rx, self.hand, self.tx, self.done, self.held)
            assert sum(place[worker] for place in places) == BUFFERS
            assert self.filled[worker] <= self.rx[worker]

    def teardown(self) -> None:
        """Left alone, it comes to rest: every wanted worker polls, and they own all entries."""
        for _ in range(40):
            for worker in range(WORKERS):
                self.a_process_is_ready(worker)
            for step in difference(self.running(), self.wanted)[:1]:
                self.take(step)
        assert self.polling() == self.wanted
        assert set(self.table) == self.owners == frozenset(self.wanted)


TestMachine = Machine.TestCase
