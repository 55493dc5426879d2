"""The executor of recovery, on workers and a port made of objects."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from ixyfwd.config.schema import RecoveryConfig
from ixyfwd.errors import IxyfwdError
from ixyfwd.supervisor.events import Change
from ixyfwd.supervisor.recovery import Recovery
from ixyfwd.telemetry.counters import State
from tests.testing.support import no_events


class FakeWorker:
    """A worker whose process begins and ends as the test wants it."""

    def __init__(self, index: int, log: list[str]) -> None:
        self.index, self.name, self.pid, self.pidfd = index, f"worker {index}", 100 + index, index
        self.spec = SimpleNamespace(cpu=None)
        self.pulse = SimpleNamespace(held=None)
        self.state = State.READY
        self.last_death: str | None = None
        self.refusals = 0
        self._log = log

    def obituary(self) -> str:
        return f"{self.name} died"

    def queue(self, port: object) -> None:
        return None

    def empty_rx_queue(self, port: object) -> None:
        self._log.append(f"rx {self.index}")

    def empty_tx_queue(self, port: object) -> None:
        self._log.append(f"tx {self.index}")

    def bury(self, ports: object) -> int:
        return 3

    def restart(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise IxyfwdError(f"{self.name} cannot be started")
        self.state = State.STARTING
        self._log.append(f"start {self.index}")

    def kill(self) -> None:
        self._log.append(f"kill {self.index}")


class Bed:
    """A recovery with `workers` workers and one port; `log` has what was done in its order."""

    def __init__(self, workers: int = 2, **limits: Any) -> None:
        self.log: list[str] = []
        self.told: list[Change] = []
        self.is_sent = True
        self.workers = [FakeWorker(index, self.log) for index in range(workers)]
        driver = SimpleNamespace(
            steer=lambda queues: self.log.append(f"steer {queues}"),
            link=lambda: SimpleNamespace(up=True),
            sent=lambda queue, view: self.is_sent,
            disable_tx_queue=lambda queue: self.log.append(f"tx off {queue}"),
        )
        nothing = SimpleNamespace(add=lambda *_: None, forget=lambda *_: None)
        plan = SimpleNamespace(
            recovery=RecoveryConfig(**limits), loop=SimpleNamespace(order=SimpleNamespace(restarts=True))
        )
        forwarder = SimpleNamespace(
            plan=plan,
            workers=self.workers,
            ports=[SimpleNamespace(driver=driver)],
            events=no_events(),
            stolen=nothing,
            notices=[],
            read_port=lambda port: None,
        )
        self.recovery = Recovery(cast(Any, forwarder), self.told.append, lambda worker: None, lambda fd: None)

    def died(self, index: int) -> None:
        self.recovery.died(cast(Any, self.workers[index]))

    def look(self, times: int = 10) -> None:
        for _ in range(times):
            self.recovery.look()

    def states(self) -> list[str]:
        return [change.state for change in self.told]


def test_the_steps_of_a_death_in_their_order() -> None:
    bed = Bed()
    bed.look()
    assert bed.log == []
    bed.died(1)
    bed.look()
    assert bed.log == ["steer [0]", "rx 1", "tx off 1", "tx 1", "start 1"]
    bed.workers[1].state = State.READY
    bed.look()
    assert bed.log[5:] == ["steer [0, 1]"]
    assert bed.states() == ["died", "ready"]
    assert bed.recovery.look() == float("inf")


def test_queued_frames_may_leave_first() -> None:
    bed = Bed()
    bed.is_sent = False
    bed.died(0)
    bed.look(3)
    assert bed.log == ["steer [1]", "rx 0"]
    bed.is_sent = True
    bed.look(3)
    assert bed.log[2:] == ["tx off 0", "tx 0", "start 0"]


def test_a_process_that_cannot_be_started_is_tried_again() -> None:
    """As where no more processes are allowed for a moment."""
    bed = Bed()
    bed.workers[1].refusals = 1
    bed.died(1)
    bed.look()
    assert "start 1" not in bed.log
    assert bed.states() == ["died", "died"]
    assert bed.workers[1].last_death == "worker 1 cannot be started"
    while "start 1" not in bed.log:
        assert bed.recovery.look() < 1
    bed.workers[1].state = State.READY
    bed.look()
    assert bed.states() == ["died", "died", "ready"]


def test_a_process_that_can_never_be_started_is_given_up() -> None:
    bed = Bed(restarts=1)
    bed.workers[1].refusals = 100
    bed.died(1)
    bed.look()
    assert bed.states() == ["died", "given up"]
    assert bed.recovery.look() == float("inf")
    with pytest.raises(IxyfwdError, match="no other worker is left"):
        bed.died(0)
        bed.workers[0].refusals = 100
        bed.look()


def test_a_process_that_dies_again_before_it_polls() -> None:
    bed = Bed()
    bed.died(1)
    bed.look()
    bed.died(1)
    bed.look()
    assert bed.log == ["steer [0]", "rx 1", "tx off 1", "tx 1", "start 1", "rx 1", "tx off 1", "tx 1"]


def test_a_held_worker_is_killed_after_its_time_in_ticks() -> None:
    bed = Bed(held_s=2)
    bed.workers[0].pulse.held = "stopped"
    for _ in range(2):
        bed.recovery.end_held()
    assert bed.log == []
    bed.recovery.end_held()
    assert bed.log == ["kill 0"] and bed.states() == ["killed"]


def test_a_held_worker_that_goes_on_is_left_alone() -> None:
    bed = Bed(held_s=2)
    for held in ("stopped", "stopped", None) * 3:
        bed.workers[0].pulse.held = held
        bed.recovery.end_held()
    assert bed.log == []
    bed = Bed(held_s=0)
    bed.workers[0].pulse.held = "stuck"
    for _ in range(100):
        bed.recovery.end_held()
    assert bed.log == []
