"""The comparison of two sides, measured in pairs of runs, one right after the other.

Each run is a process of its side, so the sides may be of any age that has the command:
`bench cost`, and `bench throughput` if asked for. The distance between the CPUs is
measured around each run by this process. A pair during which it changed is discarded and
is measured again, within a bound. Rows in which two cores take part are split by
distance.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Literal

from ixyfwd.bench.paired import CONFIDENCE, FEWEST_PAIRS, orders, paired_ratio
from ixyfwd.bench.result import Row, spread
from ixyfwd.bench.sides import WRONG_USE, Side
from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.probe.distance import distance_of, round_trip_ns

Measure = Literal["cost", "throughput"]
RunDistance = str | None  # "near", "far", "mixed"; None where there is none to measure

SEED: Final = 1
ATTEMPTS: Final = 2  # at most, times the number of pairs that are wanted
RUN_TIMEOUT_S: Final = 600.0
LETTERS: Final = "AB"
BY_HAND: Final = "by hand"
# The keys that identify a row. A side that is older than a key had only rows of the value given here.
IDENTITY: Final = {
    "engine": None, "loop": "python", "program": None, "batch": None, "ring": 512, "frame_bytes": 64, "workers": 1,
    "device": "model", "device_note": None, "cache": "warm",
}  # fmt: skip
Key = tuple[Any, ...]


@dataclass(frozen=True)
class ComparisonPlan:
    """The plan of a comparison: `words` are the arguments of one run, by what they measure."""

    words: Mapping[Measure, Sequence[str]]
    pairs: int
    timeout_s: float = RUN_TIMEOUT_S


@dataclass
class Pairs:
    """The pairs of one row and distance: the figures of A and of B, those of a pair at the same index."""

    head: Row
    ns_per_packet: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))
    mpps: tuple[list[float], list[float]] = field(default_factory=lambda: ([], []))


@dataclass
class Found:
    """The result of a whole comparison."""

    rows: list[Row]
    problems: list[str]
    left_out: int  # pairs during which the distance changed
    interrupted: bool


def measure(plan: ComparisonPlan, sides: tuple[Side, Side], progress: Callable[[str], None]) -> Found:
    """Measure all pairs; Ctrl-C ends it with those before. Raises UsageError if a side lacks the command."""
    pairs: dict[tuple[Measure, Key, RunDistance], Pairs] = {}
    problems: list[str] = []
    left_out = 0
    order = orders(SEED)
    interrupted = False
    try:
        for kind, words in plan.words.items():
            whole = attempts = 0
            while whole < plan.pairs and attempts < ATTEMPTS * plan.pairs:
                attempts += 1
                first, second = next(order)
                progress(f"{kind}, pair {whole + 1}/{plan.pairs}: {LETTERS[first]} {LETTERS[second]}")
                try:
                    runs, distances = _pair(plan, words, sides, (first, second), problems)
                except IxyfwdError as error:
                    if isinstance(error, UsageError):
                        raise
                    problems.append(f"{kind}, pair {whole + 1}: {error}")
                    continue
                if _add(pairs, kind, runs, distances):
                    whole += 1
                else:
                    left_out += 1
            if whole < plan.pairs:
                problems.append(
                    f"{kind}: {whole} of {plan.pairs} pairs in {attempts} attempts; of the others a run failed or the "
                    "distance between the CPUs changed"
                )
    except KeyboardInterrupt:
        problems.append(f"{kind}, pair {whole + 1}: interrupted")
        interrupted = True
    return Found([_row(one) for one in pairs.values()], list(dict.fromkeys(problems)), left_out, interrupted)


def _pair(
    plan: ComparisonPlan, words: Sequence[str], sides: tuple[Side, Side], order: tuple[int, int], problems: list[str]
) -> tuple[tuple[dict[Key, Row], dict[Key, Row]], tuple[RunDistance, RunDistance]]:
    """The rows of a run of each side, and the distance during each, both in the order (A, B)."""
    looks = [distance_now()]
    runs: list[dict[Key, Row]] = []
    for place in order:
        runs.append(_run(sides[place], words, plan.timeout_s, problems))
        looks.append(distance_now())
    during = [before if before == after else "mixed" for before, after in pairwise(looks)]
    a, b = order.index(0), order.index(1)
    return (runs[a], runs[b]), (during[a], during[b])


def distance_now() -> RunDistance:
    """The distance between the first two CPUs that this process may use, which are the ones a run takes."""
    cpus = sorted(os.sched_getaffinity(0))[:2]
    trip_ns = round_trip_ns(*cpus) if len(cpus) == 2 else None
    return None if trip_ns is None else distance_of(trip_ns)


def _run(side: Side, words: Sequence[str], timeout_s: float, problems: list[str]) -> dict[Key, Row]:
    """The rows of one run. Raises IxyfwdError if it gave none, UsageError if the side lacks the command."""
    done = side.run(*words, timeout_s=timeout_s)
    last = (done.stderr.strip().splitlines() or ["no output on standard error"])[-1].removeprefix("ixyfwd: ")
    if done.returncode == WRONG_USE:
        raise UsageError(f"{side}: ixyfwd {' '.join(words)}: {last}")
    try:
        found = json.loads(done.stdout.splitlines()[-1])
        rows = {_key(row): row for row in found["rows"]}
    except (ValueError, IndexError, KeyError, TypeError):
        raise IxyfwdError(f"{side}: exit code {done.returncode}: {last}") from None
    problems += [f"{side}: {problem}" for problem in found["problems"]]
    return rows


def _key(row: Row) -> Key:
    return tuple(row.get(name, default) for name, default in IDENTITY.items())


def _add(
    pairs: dict[tuple[Measure, Key, RunDistance], Pairs],
    kind: Measure,
    runs: tuple[dict[Key, Row], dict[Key, Row]],
    distances: tuple[RunDistance, RunDistance],
) -> bool:
    """Add the rows that both runs have, by their distance; returns whether all of them had one."""
    whole = True
    for key in [key for key in runs[0] if key in runs[1]]:
        both = [run[key] for run in runs]
        there = {row.get("core_distance") or distance for row, distance in zip(both, distances, strict=True)}
        if len(there) > 1 or "mixed" in there:
            whole = False
            continue
        two_cores = both[0].get("device_note") != BY_HAND or both[0].get("core_distance") is not None
        distance = there.pop() if two_cores else None
        head = {"measure": kind, **dict(zip(IDENTITY, key, strict=True)), "core_distance": distance}
        one = pairs.setdefault((kind, key, distance), Pairs(head))
        for place, row in enumerate(both):
            one.ns_per_packet[place].append(row["ns_per_packet"]["median"])
            one.mpps[place].append(row["mpps"]["median"])
    return whole


def _row(pairs: Pairs) -> Row:
    """The row of a group of pairs; `ratio` is B's time per packet over A's, of the driver or of the whole rate."""
    a_ns, b_ns = pairs.ns_per_packet
    a_mpps, b_mpps = pairs.mpps
    ratio = paired_ratio(b_mpps, a_mpps) if pairs.head["measure"] == "throughput" else paired_ratio(a_ns, b_ns)
    interval = {"ratio_low": ratio.low, "ratio_high": ratio.high}
    return {
        **{key: value for key, value in pairs.head.items() if value is not None or key == "core_distance"},
        "runs": len(a_ns),
        "a_ns_per_packet": spread(a_ns),
        "b_ns_per_packet": spread(b_ns),
        "a_mpps": spread(a_mpps),
        "b_mpps": spread(b_mpps),
        "ratio": round(ratio.estimate, 4),
        **{key: None if value is None else round(value, 4) for key, value in interval.items()},
        "confidence": CONFIDENCE,
        "verdict": ratio.verdict(),
    }


def slower(rows: Sequence[Row], per_cent: float) -> list[str]:
    """The sentences for rows whose whole interval lies above `per_cent` more time, or that have no interval."""
    found = []
    for row in rows:
        name = name_of(row)
        if row["ratio_low"] is None:
            found.append(f"{name}: found {row['runs']} pairs, expected at least {FEWEST_PAIRS} to tell")
        elif row["ratio_low"] > 1 + per_cent / 100:
            found.append(
                f"{name}: B takes {row['ratio']:.3f} times as long ({row['ratio_low']:.3f}-{row['ratio_high']:.3f}), "
                f"at most {per_cent:g} % more is allowed"
            )
    return found


def name_of(row: Row) -> str:
    """The name of a row in a sentence."""
    where = f", {row['core_distance']}" if row.get("core_distance") else ""
    return f"{row['engine']} ({row['loop']}), {row['program']}, batch {row['batch']}, ring {row['ring']}{where}"
