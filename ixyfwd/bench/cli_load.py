"""`ixyfwd bench latency`, `rfc2544` and `soak`: the tests at a given load."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ixyfwd.bench.options import (
    CORES,
    Columns,
    CsvOption,
    FlowsOption,
    JsonOption,
    NearOption,
    SvgOption,
    check_outputs,
    frames,
    instance_name,
    names,
    numbers,
    rings,
    show,
)
from ixyfwd.bench.progress import progress
from ixyfwd.config.schema import ENGINES, IDLES, LOOPS, MAX_WORKERS
from ixyfwd.errors import UsageError
from ixyfwd.model.wires.contract import Rate
from ixyfwd.programs.registry import programs

if TYPE_CHECKING:
    from ixyfwd.bench.throughput import Trial

EngineOption = Annotated[str, typer.Option("--engine", help="engine: native, vector, naive")]
LoopOption = Annotated[
    str, typer.Option("--loop", help="loop: fused (native only), python; auto: fused where possible")
]
ProgramOption = Annotated[str, typer.Option("--program", help=f"program: {', '.join(programs())}")]
BatchOption = Annotated[int, typer.Option("--batch", help="frames a burst", min=1, max=2048)]
RingOption = Annotated[int, typer.Option("--ring", help="descriptors per ring, a power of two from 64 to 4096")]
WorkersOption = Annotated[int, typer.Option("--workers", help="worker processes", min=1, max=MAX_WORKERS)]
IdleOption = Annotated[str, typer.Option("--idle", help="when no frames arrive: spin, adaptive, sleep, interrupt")]

LOWEST_RATE_PPS = 1000
SECONDS = {"s": 1, "m": 60, "h": 3600}


def latency(  # noqa: PLR0917
    rate: Annotated[
        str | None, typer.Option(help="frames per second, both directions summed, comma-separated [default: 1e6]")
    ] = None,
    load: Annotated[
        str | None,
        typer.Option(help="per cent of the highest rate with at most 0.5 % loss (PDR), which is searched for first"),
    ] = None,
    engine: EngineOption = "native",
    loop: LoopOption = "auto",
    program: ProgramOption = "xconnect",
    batch: BatchOption = 64,
    ring: RingOption = 512,
    frame: Annotated[str, typer.Option(help="frame size in bytes with CRC, or imix")] = "64",
    flows: FlowsOption = 64,
    workers: WorkersOption = 1,
    idle: IdleOption = "spin",
    gc: Annotated[
        str, typer.Option(help="Python's garbage collector in the workers: off, on, or off,on for both")
    ] = "off",
    duration: Annotated[float, typer.Option(help="seconds per run, after one second of warm-up", min=0.1)] = 5.0,
    runs: Annotated[int, typer.Option(help="runs of each row", min=1)] = 3,
    near: NearOption = False,
    as_json: JsonOption = False,
    csv: CsvOption = None,
    svg: SvgOption = None,
) -> None:
    """Latency of every frame at given loads: percentiles, by direction, beside the model's own share."""
    from ixyfwd.bench import latency as bench  # noqa: PLC0415 - the model is not for --help
    from ixyfwd.bench.plots import latency_plot  # noqa: PLC0415

    if rate is not None and load is not None:
        raise UsageError("--rate and --load exclude each other; give one of them")
    trial = _trial(engine, loop, program, batch, ring, frame, flows, workers)
    shares = numbers(load, 1, 100, "--load") if load is not None else []
    rates: list[tuple[float, float | None]] = [(value, None) for value in _rates(rate or "1e6")]
    (policy,) = _one(names(idle, IDLES, "--idle"), "--idle")
    collects = [word == "on" for word in names(gc, ("off", "on"), "--gc")]
    check_outputs(csv, svg)
    with progress() as report:
        if shares:
            from ixyfwd.bench.rfc2544 import find_pdr  # noqa: PLC0415

            highest = find_pdr(trial, policy, instance_name(), report)
            rates = [(highest * share / 100, share / 100) for share in shares]
        plan = bench.LatencyPlan(trial, rates, policy, collects, duration, runs, near)
        found, histograms = bench.measure(plan, instance_name(), report)
    lines = {name: one.line() for name, one in histograms.items()}
    columns: Columns = {"gc": ("gc", None), "mpps": ("Mpps", 2), **CORES, **PERCENTILE_COLUMNS}
    show(
        _with_percentiles(found),
        columns,
        as_json=as_json,
        csv=csv,
        svg=svg,
        draw=lambda _, path: latency_plot(lines, "model", path),
    )


def rfc2544(  # noqa: PLR0917
    frame: Annotated[str, typer.Option(help="frame sizes in bytes with CRC, or imix, comma-separated")] = (
        "64,128,256,512,1024,1280,1518,imix"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="short trials and 5 % precision, for a first look")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="final trials of 60 s, as RFC 2544 demands; takes hours")
    ] = False,
    engine: EngineOption = "native",
    loop: LoopOption = "auto",
    program: ProgramOption = "xconnect",
    batch: BatchOption = 64,
    ring: RingOption = 512,
    flows: FlowsOption = 64,
    workers: WorkersOption = 1,
    idle: IdleOption = "spin",
    as_json: JsonOption = False,
    csv: CsvOption = None,
) -> None:
    """Highest rates without loss (NDR) and with 0.5 % loss (PDR), and the longest burst at line rate."""
    from ixyfwd.bench import rfc2544 as bench  # noqa: PLC0415

    if quick and full:
        raise UsageError("--quick and --full exclude each other; give one of them")
    effort = bench.QUICK if quick else bench.FULL if full else bench.NORMAL
    trials = [_trial(engine, loop, program, batch, ring, size.strip(), flows, workers) for size in frame.split(",")]
    (policy,) = _one(names(idle, IDLES, "--idle"), "--idle")
    check_outputs(csv, None)
    with progress() as report:
        found = bench.run(trials, effort, policy, instance_name(), report)
    columns: Columns = {
        "goal": ("goal", None),
        "load_mpps": ("load Mpps", 2),
        "line_rate_share": ("of line rate", 3),
        "mpps": ("Mpps median (min-max)", 2),
        **CORES,
        "loss_share": ("lost", 5),
        "back_to_back_frames": ("back to back", None),
    }
    show(found, columns, as_json=as_json, csv=csv)


def soak(  # noqa: PLR0917
    duration: Annotated[str, typer.Option(help="length of the run: 30s, 10m, 8h")] = "30s",
    rate: Annotated[
        str, typer.Option(help="frames per second, both directions summed, or max: as fast as the ports take them")
    ] = "max",
    engine: EngineOption = "native",
    loop: LoopOption = "auto",
    program: ProgramOption = "touch",
    batch: BatchOption = 64,
    ring: RingOption = 512,
    frame: Annotated[str, typer.Option(help="frame size in bytes with CRC, or imix")] = "imix",
    flows: FlowsOption = 64,
    workers: WorkersOption = 1,
    idle: IdleOption = "adaptive",
    as_json: JsonOption = False,
    csv: CsvOption = None,
) -> None:
    """A long run whose account, memory and cost are checked every second; ends at the first violation."""
    from ixyfwd.bench import soak as bench  # noqa: PLC0415
    from ixyfwd.bench.loaded import DIRECTIONS, Load  # noqa: PLC0415

    trial = _trial(engine, loop, program, batch, ring, frame, flows, workers)
    (policy,) = _one(names(idle, IDLES, "--idle"), "--idle")
    pace: Rate = "max" if rate == "max" else _rate(rate) / DIRECTIONS
    length_s = seconds(duration, "--duration")
    check_outputs(csv, None)
    with progress() as report:
        found = bench.run(Load(trial, pace, policy), length_s, instance_name(), report)
    columns: Columns = {"at_s": ("s", 0), "mpps": ("Mpps", 2), "ns_per_packet": ("ns/packet", 1), **CORES}
    show(found, columns, as_json=as_json, csv=csv)


PERCENTILE_COLUMNS: Columns = {
    f"{name}_us": (f"{heading} us", 1)
    for name, heading in (("p50", "p50"), ("p99", "p99"), ("p99_99", "p99.99"), ("max", "max"))
} | {"machine_p99_99_us": ("the machine alone p99.99 us", 1)}


def _with_percentiles(found: dict[str, Any]) -> dict[str, Any]:
    """The percentiles of the table's columns beside the rows' other keys."""
    for row in found["rows"]:
        row |= {f"{name}_us": row["latency_us"][name] for name in ("p50", "p99", "p99_99", "max")}
        row["machine_p99_99_us"] = row["machine_alone_us"]["p99_99"]
    return found


def _trial(  # noqa: PLR0917
    engine: str, loop: str, program: str, batch: int, ring: int, frame: str, flows: int, workers: int
) -> "Trial":
    """The one trial that these options describe; for "auto" with the fused loop, if one takes such frames."""
    from ixyfwd.bench.throughput import TrialPlan  # noqa: PLC0415

    (engine_name,) = _one(names(engine, ENGINES, "--engine"), "--engine")
    (loop_name,) = _one(names(loop, LOOPS, "--loop"), "--loop")
    (size,) = _one(frames(frame), "--frame")
    plan = TrialPlan(
        engines=[engine_name],
        loops=["fused", "python"] if loop_name == "auto" else [loop_name],
        programs=_one(names(program, tuple(programs()), "--program"), "--program"),
        batches=[batch],
        rings=rings(str(ring)),
        frames=[size],
        flows=flows,
        workers=[workers],
        duration_s=0.0,
        runs=1,
    )
    trials = plan.trials()
    if not trials and loop_name == "fused" and engine_name != "native":
        raise UsageError(f"--loop: the engine {engine_name} has no fused loop; use --loop python")
    if not trials:
        raise UsageError(
            f"--frame: {size} bytes fill several buffers, which the engine {engine_name} does not take in its "
            f"{loop_name} loop; use --engine native or vector and --loop python"
        )
    return trials[0]


def _one(found: list[Any], option: str) -> list[Any]:
    if len(found) != 1:
        raise UsageError(f"{option}: found {len(found)} values, expected one")
    return found


def _rates(text: str) -> list[float]:
    return [_rate(part.strip()) for part in text.split(",")]


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not LOWEST_RATE_PPS <= rate <= 1e9:
        raise UsageError(f"--rate: {text!r} is not a number of frames per second from {LOWEST_RATE_PPS} to 1e9")
    return rate


def seconds(text: str, option: str) -> float:
    """The seconds of a time such as 30s, 10m or 8h. Raises UsageError for other texts, and less than a second."""
    number, unit = (text[:-1], SECONDS[text[-1]]) if text[-1:] in SECONDS else (text, 1)
    try:
        value = float(number) * unit
    except ValueError:
        value = 0.0
    if not 1 <= value <= 1e8:
        raise UsageError(f"{option}: {text!r} is not a time of at least a second such as 30s, 10m or 8h")
    return value
