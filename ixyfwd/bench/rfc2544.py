"""RFC 2544 on the model: throughput without loss (NDR) and with at most 0.5 % loss (PDR), and back-to-back frames.

Loads are frames per second and direction; both directions are loaded alike. A trial
whose generators fell behind is repeated, and the best attempt counts, for the load that
it really offered. Every frame is accounted for: sequence numbers tell lost, duplicated
and overtaken frames apart, and the last two end the test of that frame size with a
sentence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ixyfwd.bench.cores import core_columns
from ixyfwd.bench.loaded import DIRECTIONS, Interrupted, Load, line_rate, run_load, worker_costs
from ixyfwd.bench.result import Row, result, spread
from ixyfwd.bench.search import NDR, PDR, Goal, Search
from ixyfwd.bench.throughput import Trial, head_of_row
from ixyfwd.config.schema import Idle
from ixyfwd.errors import IxyfwdError

SIZES: Final[tuple[int | str, ...]] = (64, 128, 256, 512, 1024, 1280, 1518, "imix")
LOWEST_PPS: Final = 10_000.0
SHORTFALL_ACCEPTED: Final = 0.02  # of the frames asked for; the report has the frames sent
SHORTFALL_TOLERATED: Final = 0.25  # by the best attempt, on a machine that takes the model's CPU away
BURST_SHORTFALL_ACCEPTED: Final = 0.05  # of a burst: the model's wires pause each time its Python works
STARTING_FRAMES: Final = 2000  # that are late before the first one is sent: the model takes 100 us to begin
SMALLEST_BURST: Final = 64.0
BURST_PRECISION: Final = 0.05


@dataclass(frozen=True)
class Effort:
    """The length of trials and the precision of the search.

    `durations_s`: of the trials of each phase. `precision`: relative. `trials`: per
    load in the last phase. `burst_s`: longest burst, in seconds at line rate.
    `attempts`: of a trial whose generators fall behind.
    """

    durations_s: tuple[float, ...]
    precision: float
    trials: int
    burst_s: float
    attempts: int = 5


QUICK: Final = Effort((0.2, 0.5), 0.05, 3, 0.2, attempts=2)
NORMAL: Final = Effort((1.0, 5.0), 0.005, 3, 2.0)
FULL: Final = Effort((1.0, 10.0, 60.0), 0.005, 1, 2.0)  # RFC 2544, section 24: 60 seconds, and none is repeated


@dataclass
class LoadTester:
    """The measurement of one trial's forwarder at loads; it keeps the reports by duration and load."""

    trial: Trial
    idle: Idle
    instance: str
    progress: Callable[[str], None]
    attempts: int = 5
    reports: dict[tuple[float, float], list[dict[str, Any]]] = field(default_factory=dict)

    def measure(self, duration_s: float, load_pps: float) -> tuple[int, int]:
        """Measure a load; returns offered and forwarded frames.

        Raises IxyfwdError if the generators do not come near the load.
        """
        short, best = 1.0, None
        for _ in range(self.attempts):
            report, behind = self._run(duration_s, load_pps)
            if best is None or behind < short:
                short, best = behind, report
            if short <= SHORTFALL_ACCEPTED:
                break
        if best is None or short > SHORTFALL_TOLERATED:
            raise IxyfwdError(
                f"{self.trial}: the generators sent {short:.1%} less than {load_pps / 1e6:.2f} Mpps a direction, at "
                f"most {SHORTFALL_TOLERATED:.0%} is accepted; the model's CPU is too slow or shared"
            )
        self.reports.setdefault((duration_s, load_pps), []).append(best)
        return best["sink"]["sent"], best["sink"]["received"]

    def reachable(self, duration_s: float) -> float:
        """The highest load up to line rate, in frames per second and direction, that the generators reach."""
        load = line_rate(self.trial.frame)
        for _ in range(2 * self.attempts):
            _, short = self._run(duration_s, load)
            if short <= SHORTFALL_ACCEPTED / 2:
                break
            load *= 1 - short
        return load

    def burst(self, _: float, frames: float) -> tuple[int, int]:
        """Send a burst of `frames` frames in each direction at line rate; returns offered and forwarded frames."""
        count = round(frames)
        self.progress(f"{self.trial}: {count} frames back to back")
        sink = run_load(Load(self.trial, "line", self.idle, count=count), None, self.instance)["sink"]
        # A frame that was sent late is not back to back: only a burst without longer gaps is valid.
        accepted = BURST_SHORTFALL_ACCEPTED * sink["sent"] + STARTING_FRAMES
        return (sink["sent"], sink["received"]) if sink["shortfall"] <= accepted else (1, 0)

    def _run(self, duration_s: float, load_pps: float) -> tuple[dict[str, Any], float]:
        self.progress(f"{self.trial}: {load_pps / 1e6:.3f} Mpps a direction for {duration_s:g} s")
        report = run_load(Load(self.trial, load_pps, self.idle), duration_s, self.instance)
        sink = report["sink"]
        return report, sink["shortfall"] / max(1, sink["sent"] + sink["shortfall"])


def run(
    trials: Sequence[Trial], effort: Effort, idle: Idle, instance: str, progress: Callable[[str], None]
) -> dict[str, Any]:
    """Measure NDR, PDR and back-to-back frames of each trial (one for each frame size); returns the result."""
    rows: list[Row] = []
    problems: list[str] = []
    try:
        for trial in trials:
            try:
                rows += _rows(LoadTester(trial, idle, instance, progress, effort.attempts), effort, problems)
            except Interrupted:
                raise
            except IxyfwdError as error:
                problems.append(str(error))
    except Interrupted as stop:
        problems.append(f"the measurement was stopped: {stop}")
    return result("rfc2544", rows, problems, duration_s=effort.durations_s[-1])


def find_pdr(trial: Trial, idle: Idle, instance: str, progress: Callable[[str], None]) -> float:
    """The PDR in frames per second, both directions summed, by a quick search. Raises IxyfwdError if there is none."""
    tester = LoadTester(trial, idle, instance, progress, QUICK.attempts)
    found = _search(tester, QUICK).find(PDR)
    if found is None:
        raise IxyfwdError(_nothing(trial, PDR))
    return found * DIRECTIONS


def _nothing(trial: Trial, goal: Goal) -> str:
    return f"{trial}: more than {goal.loss:.1%} of the frames were lost even at {LOWEST_PPS:g} a second"


def _search(tester: LoadTester, effort: Effort) -> Search:
    highest = tester.reachable(effort.durations_s[0])
    return Search(tester.measure, LOWEST_PPS, highest, effort.precision, effort.durations_s, effort.trials)


def _rows(tester: LoadTester, effort: Effort, problems: list[str]) -> list[Row]:
    search = _search(tester, effort)
    found = {goal: search.find(goal) for goal in (NDR, PDR)}
    burst = _back_to_back(tester, effort)
    rows: list[Row] = []
    for goal, load in found.items():
        if load is None:
            problems.append(_nothing(tester.trial, goal))
            continue
        reports = tester.reports[effort.durations_s[-1], load]
        passed = [r for r, loss in zip(reports, search.losses(load), strict=True) if loss <= goal.loss]
        line = line_rate(tester.trial.frame)
        behind = max(_shortfall(report) for report in passed)
        offered = load * (1 - behind)
        rows.append(
            {
                **head_of_row(tester.trial, reports[0]["device"]),
                "idle": tester.idle,
                "goal": goal.name,
                "runs": len(passed),
                **core_columns(passed),
                "load_mpps": round(offered * DIRECTIONS / 1e6, 4),
                "line_rate_share": round(offered / line, 4),
                "limited_by": "generator"
                if load >= search.highest and offered < (1 - SHORTFALL_ACCEPTED) * line
                else None,
                "mpps": spread([report["rate_mpps"] for report in passed]),
                "ns_per_packet": spread(worker_costs(passed)),
                "loss_share": round(max(_loss(report) for report in passed), 6),
                "trials_failed": len(reports) - len(passed),
                "shortfall_share": round(behind, 6),
                "back_to_back_frames": burst,
            }
        )
    return rows


def _back_to_back(tester: LoadTester, effort: Effort) -> int | None:
    """The longest burst at line rate without loss, in frames of each direction; None if there is none.

    No burst is longer than `burst_s`.
    """
    longest = line_rate(tester.trial.frame) * effort.burst_s
    search = Search(tester.burst, SMALLEST_BURST, longest, BURST_PRECISION, (0.0,), trials=effort.trials)
    found = search.find(replace(NDR, name="back-to-back"))
    return None if found is None else round(found)


def _loss(report: dict[str, Any]) -> float:
    sink = report["sink"]
    return float(max(0.0, 1 - sink["received"] / sink["sent"]))


def _shortfall(report: dict[str, Any]) -> float:
    sink = report["sink"]
    return float(sink["shortfall"] / max(1, sink["sent"] + sink["shortfall"]))
