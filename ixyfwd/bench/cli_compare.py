"""`ixyfwd bench compare A B`: the judgement of a change."""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ixyfwd.bench.options import (
    BatchOption,
    Columns,
    CsvOption,
    EngineOption,
    JsonOption,
    LoopOption,
    ProgramOption,
    RingOption,
    check_outputs,
    frames,
    names,
    numbers,
    rings,
    show,
)
from ixyfwd.bench.progress import progress
from ixyfwd.config.schema import ENGINES, LOOPS, MAX_WORKERS
from ixyfwd.errors import UsageError
from ixyfwd.programs.registry import programs

if TYPE_CHECKING:
    from ixyfwd.bench.compare import ComparisonPlan, Measure
    from ixyfwd.bench.cost import Case
    from ixyfwd.bench.counts import Counts
    from ixyfwd.bench.result import Row
    from ixyfwd.bench.sides import Side

RUNS_IN_ONE = 3  # of `bench cost` in one process: their median is steadier, and a process costs half a second
MOST_PAIRS = 500
MOST_BATCH = 2048

COLUMNS: Columns = {
    "measure": ("measure", None),
    "core_distance": ("distance", None),
    "a_ns_per_packet": ("A: ns/packet", 2),
    "b_ns_per_packet": ("B: ns/packet", 2),
    "ratio": ("B/A", 3),
    "ratio_low": ("from", 3),
    "ratio_high": ("to", 3),
    "verdict": ("B is", None),
}
RATES: Columns = {"a_mpps": ("A: Mpps", 2), "b_mpps": ("B: Mpps", 2)}
INSTRUCTIONS: Columns = {
    "a_instructions_per_packet": ("A: instructions", 2),
    "b_instructions_per_packet": ("B: instructions", 2),
    "instructions_more": ("more", 4),
}


def compare(  # noqa: PLR0917
    a: Annotated[str, typer.Argument(metavar="A", help="commit, . (the working tree), or path of an environment")],
    b: Annotated[str, typer.Argument(metavar="B", help="commit, . or environment that A is compared with")],
    engine: EngineOption = "native,vector",
    loop: LoopOption = "fused,python",
    program: ProgramOption = "touch",
    batch: BatchOption = "1,32,256",
    ring: RingOption = "512",
    throughput: Annotated[bool, typer.Option("--throughput", help="measure the rate on the model too")] = False,
    frame: Annotated[str, typer.Option(help="with --throughput: frame sizes in bytes with CRC, or imix")] = "64",
    workers: Annotated[str, typer.Option(help="with --throughput: numbers of workers, 1 to 16")] = "1",
    duration: Annotated[float, typer.Option(help="with --throughput: seconds per run", min=0.1)] = 0.5,
    runs: Annotated[int, typer.Option("--runs", help="pairs of runs", min=1, max=MOST_PAIRS)] = 12,
    instructions: Annotated[
        bool, typer.Option("--instructions/--no-instructions", help="count instructions too, where there is valgrind")
    ] = True,
    instructions_only: Annotated[
        bool, typer.Option("--instructions-only", help="count instructions and measure no time")
    ] = False,
    fail_if_slower: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="PERCENT", help="exit code 1 if B is slower, or takes more instructions, by more than this"
        ),
    ] = None,
    as_json: JsonOption = False,
    csv: CsvOption = None,
) -> None:
    """Two commits or environments, in pairs of runs: whether B is slower than A, and by how many instructions."""
    from ixyfwd.bench.compare import ComparisonPlan  # noqa: PLC0415 - numpy and the engines are not for --help
    from ixyfwd.bench.cost import cases  # noqa: PLC0415
    from ixyfwd.bench.paired import FEWEST_PAIRS  # noqa: PLC0415
    from ixyfwd.bench.sides import open_sides  # noqa: PLC0415

    wanted = cases(
        names(engine, ENGINES, "--engine"),
        names(loop, LOOPS[1:], "--loop"),
        names(program, tuple(programs()), "--program"),
        numbers(batch, 1, MOST_BATCH, "--batch"),
        rings(ring),
    )
    frames(frame)
    numbers(workers, 1, MAX_WORKERS, "--workers")
    if fail_if_slower is not None and runs < FEWEST_PAIRS and not instructions_only:
        raise UsageError(f"--runs: found {runs} pairs, expected at least {FEWEST_PAIRS} to tell which side is slower")
    if instructions_only and (throughput or not instructions):
        raise UsageError("--instructions-only measures no time: leave --throughput and --no-instructions out")
    check_outputs(csv, None)
    rows = ["--engine", engine, "--loop", loop, "--program", program, "--batch", batch, "--ring", ring, "--json"]
    words: dict[Measure, list[str]] = {"cost": ["bench", "cost", *rows, "--runs", str(RUNS_IN_ONE)]}
    if throughput:
        more = ["--frame", frame, "--workers", workers, "--duration", f"{duration:g}", "--runs", "1"]
        words["throughput"] = ["bench", "throughput", *rows, *more]
    plan = None if instructions_only else ComparisonPlan(words, runs)
    counted = [case for case in wanted if case.engine == "native"] if instructions else []
    with progress() as report, ExitStack() as stack:
        sides = open_sides((a, b), stack, report)
        found, failures = _measure(plan, counted, sides, fail_if_slower, report)
    times: Columns = {**(RATES if throughput else {}), **COLUMNS} if plan else {}
    _print(found, failures, {**times, **(INSTRUCTIONS if counted else {})}, as_json=as_json, csv=csv)


def _measure(
    plan: "ComparisonPlan | None",
    counted: "Sequence[Case]",
    sides: "tuple[Side, Side]",
    per_cent: float | None,
    report: Callable[[str], None],
) -> tuple[dict[str, Any], list[str]]:
    """The result, and a sentence for each row that fails."""
    from ixyfwd.bench import compare as bench  # noqa: PLC0415
    from ixyfwd.bench.counts import count_sides  # noqa: PLC0415
    from ixyfwd.bench.result import result  # noqa: PLC0415

    found = bench.measure(plan, sides, report) if plan else bench.Found([], [], 0, interrupted=False)
    counts, interrupted = ([], False) if found.interrupted else count_sides(counted, sides, report)
    reasons = list(dict.fromkeys(one.problem for one in counts if one.problem))
    problems = [*found.problems, *(["counting instructions: interrupted"] if interrupted else [])]
    more: dict[str, Any] = {}
    if plan:
        rows = _with_counts(found.rows, counts)
        failures = bench.slower(rows, per_cent) if per_cent is not None else []
        if reasons:  # the times are valid without them
            more["note"] = f"instructions were not counted: {'; '.join(reasons)}"
    else:
        rows = [{**_head(one), **one.cells()} for one in counts if not one.problem]
        failures = _more(counts, per_cent) if per_cent is not None else []
        problems += reasons
    more |= {
        "sides": {"a": dict(sides[0].facts), "b": dict(sides[1].facts)},
        "pairs_left_out": found.left_out,
        "interrupted": found.interrupted or interrupted,
        "failures": failures,
    }
    return result("compare", rows, problems, **more), failures


def _with_counts(rows: "Sequence[Row]", counts: "Sequence[Counts]") -> "list[Row]":
    cells = {(one.case.loop, one.case.program, one.case.batch, one.case.ring): one.cells() for one in counts}
    return [
        {**row, **cells.get((row["loop"], row["program"], row["batch"], row["ring"]), {})}
        if row["engine"] == "native" and row["measure"] == "cost"
        else row
        for row in rows
    ]


def _head(one: "Counts") -> "Row":
    case = one.case
    keys = {"engine": case.engine, "loop": case.loop, "program": case.program, "batch": case.batch, "ring": case.ring}
    return {"measure": "instructions", **keys, "device": "model", "device_note": "by hand", "runs": 1}


def _more(counts: "Sequence[Counts]", per_cent: float) -> list[str]:
    """A sentence for each case in which B takes more instructions than is allowed."""
    return [
        f"{one.case}: B takes {one.more:.4f} instructions a packet more than A's {one.a:.4f}; "
        f"at most {per_cent:g} % is allowed"
        for one in counts
        if one.more is not None and one.a is not None and one.more > one.a * per_cent / 100
    ]


def _print(found: dict[str, Any], failures: Sequence[str], columns: Columns, **options: Any) -> None:
    try:
        show(found, columns, **options)
    finally:
        for failure in failures:
            print(f"ixyfwd: {failure}", file=sys.stderr)
    if failures:
        raise typer.Exit(1)
