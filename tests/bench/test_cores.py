"""The CPUs of a measured run: what rows say of them, and how --near waits."""

from collections.abc import Sequence
from typing import Any

import pytest

from ixyfwd.bench import cores
from ixyfwd.bench.cores import Patience, by_distance, core_columns, distance_kind, run_measured, worst_round_trip_ns
from ixyfwd.bench.throughput import TrialPlan, config_for, run_plan
from ixyfwd.supervisor.observer import Silent
from tests.testing.bench_cases import GOOD_REPORT

NEAR, FAR = 80.0, 400.0
TRIAL = TrialPlan(["native"], ["fused"], ["touch"], [32], [512], [64], 64, [1], 0.1, 1).trials()[0]


class Machine:
    """Runs that take no time on CPUs whose distances are given beforehand; the last one stays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, distances: Sequence[float | None]) -> None:
        self.runs = 0
        self.waited_s = 0.0
        self._distances = list(distances)
        monkeypatch.setattr(cores, "run_forwarder", self._run)
        monkeypatch.setattr(cores, "worst_round_trip_ns", self._distance)
        monkeypatch.setattr("ixyfwd.bench.cores.time.sleep", self._sleep)
        monkeypatch.setattr("ixyfwd.bench.cores.time.monotonic", lambda: float(self.runs))  # a run takes a second

    def _run(self, *_: object, **__: object) -> dict[str, Any]:
        self.runs += 1
        return dict(GOOD_REPORT)

    def _distance(self, _: object) -> float | None:
        return self._distances.pop(0) if len(self._distances) > 1 else self._distances[0]

    def _sleep(self, seconds: float) -> None:
        self.waited_s += seconds


def run_once(patience_s: float = 0.0) -> dict[str, Any]:
    config = config_for(TRIAL, "x")
    return run_measured(config, duration_s=1, until_done=False, observer=Silent(), patience=Patience(patience_s))


def reports(*ends: tuple[float | None, float | None]) -> list[dict[str, Any]]:
    return [{**GOOD_REPORT, "core_distance_ns": pair} for pair in ends]


def test_a_run_says_its_distance_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, [NEAR, FAR])
    assert run_once()["core_distance_ns"] == (NEAR, FAR)


def test_without_near_cpus_are_taken_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, [FAR])
    assert distance_kind([run_once()]) == "far"
    assert (machine.runs, machine.waited_s) == (1, 0)


def test_near_waits_for_near_cpus_and_repeats_a_run_that_did_not_end_so(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, [FAR, FAR, NEAR, FAR, NEAR, NEAR])
    assert distance_kind([run_once(100.0)]) == "near"
    assert (machine.runs, machine.waited_s) == (2, 2 * cores.NEAR_LOOK_S)


def test_near_gives_up_within_its_bound_and_the_row_says_far(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, [FAR])
    patience = Patience(10.0)
    config = config_for(TRIAL, "x")
    for _ in range(3):
        report = run_measured(config, duration_s=1, until_done=False, observer=Silent(), patience=patience)
        assert distance_kind([report]) == "far"
    assert machine.waited_s == 10.0  # in all, not for each run
    assert machine.runs == 3


def test_a_run_that_was_interrupted_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, [NEAR, FAR])
    monkeypatch.setattr(cores, "run_forwarder", lambda *_, **__: {**GOOD_REPORT, "reason": "SIGINT received"})
    assert run_once(100.0)["reason"] == "SIGINT received"
    assert machine.waited_s == 0


def test_cpus_that_are_one_have_no_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, [None])
    report = run_once(100.0)
    assert distance_kind([report]) is None and machine.runs == 1
    assert core_columns([report])["core_distance_ns"] is None
    monkeypatch.undo()
    monkeypatch.setattr("ixyfwd.bench.cores.os.sched_getaffinity", lambda _: {0})
    assert worst_round_trip_ns(config_for(TRIAL, "x")) is None


def test_runs_of_different_distance_share_no_median() -> None:
    groups = by_distance(reports((FAR, FAR), (NEAR, NEAR), (NEAR, FAR), (NEAR, NEAR + 1)))
    assert [(core_columns(group)["core_distance"], len(group)) for group in groups] == [
        ("near", 2), ("mixed", 1), ("far", 1)
    ]  # fmt: skip
    assert core_columns(groups[0])["core_distance_ns"] == {"median": NEAR, "min": NEAR, "max": NEAR + 1}


def test_what_was_taken_is_of_the_process_that_lost_most() -> None:
    (report,) = reports((NEAR, NEAR))
    report["workers"] = [{**report["workers"][0], "run_delay_share": share} for share in (0.001, 0.004, None)]
    report["model_process"] = {"run_delay_share": 0.002, "steal_share": 0.5}
    columns = core_columns([report])
    assert columns["run_delay_share"]["median"] == 0.004
    assert columns["steal_share"]["median"] == 0.5


def test_a_trial_has_a_row_for_each_distance(monkeypatch: pytest.MonkeyPatch) -> None:
    Machine(monkeypatch, [NEAR, NEAR, FAR, FAR, NEAR, NEAR])
    plan = TrialPlan(["native"], ["fused"], ["touch"], [32], [512], [64], 64, [1], 0.1, 3)
    found = run_plan("throughput", plan, "x", lambda text: None)
    assert [(row["core_distance"], row["runs"]) for row in found["rows"]] == [("near", 2), ("far", 1)]
