"""`ixyfwd bench ...`: the scripted tests. Progress on standard error, the result on standard output."""

from typing import Annotated

import typer

from ixyfwd.bench import cli_compare, cli_load
from ixyfwd.bench.options import (
    CORES,
    BatchOption,
    Columns,
    CsvOption,
    DurationOption,
    EngineOption,
    FlowsOption,
    JsonOption,
    LoopOption,
    NearOption,
    ProgramOption,
    RingOption,
    RunsOption,
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
from ixyfwd.config.schema import ENGINES, LOOPS, MAX_WORKERS
from ixyfwd.programs.registry import programs

RATE: Columns = {
    "mpps": ("Mpps median (min-max)", 2),
    "ns_per_packet": ("ns/packet", 1),
}
BURSTS: Columns = {"packets_per_burst": ("per burst", 1), "empty_poll_share": ("empty", 2)}
SCALING: Columns = {**RATE, **CORES, "efficiency": ("efficiency", 3), "rss_imbalance": ("imbalance", 2)}
BY_HAND: Columns = {
    "by_hand_ns_per_packet": ("ns/packet by hand", 2),
    "by_hand_efficiency": ("efficiency", 3),
    "by_hand_warm_ns_per_packet": ("warm", 2),
    "by_hand_warm_efficiency": ("efficiency", 3),
}
MAX_BATCH = 2048

app = typer.Typer(
    no_args_is_help=True, help="Measure the forwarder.", rich_markup_mode=None, pretty_exceptions_enable=False
)


@app.command()
def throughput(  # noqa: PLR0917
    engine: EngineOption = "native,vector",
    loop: LoopOption = "python,fused",
    program: ProgramOption = "xconnect",
    batch: BatchOption = "32,64,256",
    ring: RingOption = "512",
    frame: Annotated[str, typer.Option(help="frame sizes in bytes with CRC, or imix, comma-separated")] = "64",
    flows: FlowsOption = 64,
    workers: Annotated[str, typer.Option(help="numbers of workers, comma-separated, 1 to 16")] = "1",
    duration: DurationOption = 2.0,
    runs: RunsOption = 10,
    near: NearOption = False,
    as_json: JsonOption = False,
    csv: CsvOption = None,
    svg: SvgOption = None,
) -> None:
    """Forwarding rate on the model: both directions summed, as fast as the ports take frames."""
    from ixyfwd.bench import throughput as bench  # noqa: PLC0415 - numpy and the model are not for --help
    from ixyfwd.bench.plots import batch_plot  # noqa: PLC0415

    plan = bench.TrialPlan(
        engines=names(engine, ENGINES, "--engine"),
        loops=names(loop, LOOPS[1:], "--loop"),
        programs=names(program, tuple(programs()), "--program"),
        batches=numbers(batch, 1, MAX_BATCH, "--batch"),
        rings=rings(ring),
        frames=frames(frame),
        flows=flows,
        workers=numbers(workers, 1, MAX_WORKERS, "--workers"),
        duration_s=duration,
        runs=runs,
        near=near,
    )
    plan.trials()  # raises for wrong ones before anything is measured
    check_outputs(csv, svg)
    with progress() as report:
        found = bench.run_plan("throughput", plan, instance_name(), report)
    show(found, {**RATE, **CORES, **BURSTS}, as_json=as_json, csv=csv, svg=svg, draw=batch_plot)


@app.command()
def cost(  # noqa: PLR0917
    engine: EngineOption = "native,vector,naive",
    loop: LoopOption = "fused,python",
    program: ProgramOption = "touch",
    batch: BatchOption = "1,4,16,32,64,256",
    ring: RingOption = "512",
    cache: Annotated[
        str, typer.Option(help="states of the caches, comma-separated: warm, cold, memory, other-core")
    ] = "warm",
    runs: RunsOption = 10,
    instructions: Annotated[
        bool, typer.Option(help="count instructions too, of the C functions and of the Python loop (needs valgrind)")
    ] = False,
    as_json: JsonOption = False,
    csv: CsvOption = None,
    svg: SvgOption = None,
) -> None:
    """Driver cost alone: descriptors are finished by hand in the same thread, outside the timed part."""
    from ixyfwd.bench import cost as bench  # noqa: PLC0415
    from ixyfwd.bench import interpreted  # noqa: PLC0415
    from ixyfwd.bench.cachestate import CACHES  # noqa: PLC0415
    from ixyfwd.bench.plots import batch_plot  # noqa: PLC0415
    from ixyfwd.bench.result import result  # noqa: PLC0415

    wanted = bench.cases(
        names(engine, ENGINES, "--engine"),
        names(loop, LOOPS[1:], "--loop"),
        names(program, tuple(programs()), "--program"),
        numbers(batch, 1, MAX_BATCH, "--batch"),
        rings(ring),
        names(cache, CACHES, "--cache"),
    )
    check_outputs(csv, svg)
    with progress() as report:
        rows, problems = bench.measure(wanted, runs, report)
        if instructions:
            problems += bench.add_instructions(rows, report)
            problems += interpreted.add_loop_instructions(rows, report)
    found = result("cost", list(rows.values()), problems)
    counts: Columns = {"instructions_per_packet": ("instructions", 1), interpreted.KEY: ("with Python", 1)}
    extra = counts if instructions else {}
    show(found, {"cache": ("cache", None), **RATE, **extra}, as_json=as_json, csv=csv, svg=svg, draw=batch_plot)


@app.command()
def scaling(  # noqa: PLR0917
    workers: Annotated[str, typer.Option(help="numbers of workers, comma-separated, 1 to 16")] = "1,2,4,8,16",
    engine: EngineOption = "native",
    loop: LoopOption = "fused",
    program: Annotated[
        str | None,
        typer.Option(
            help=f"programs, comma-separated: {', '.join(programs())}",
            show_default="xconnect; --by-hand: xconnect,touch",
        ),
    ] = None,
    batch: BatchOption = "64",
    ring: RingOption = "512",
    flows: FlowsOption = 1024,
    duration: DurationOption = 2.0,
    runs: RunsOption = 5,
    near: NearOption = False,
    by_hand: Annotated[
        bool,
        typer.Option("--by-hand", help="measure by hand only, without processes; --flows and --duration are unused"),
    ] = False,
    as_json: JsonOption = False,
    csv: CsvOption = None,
) -> None:
    """The cost of a worker as their number grows; with fewer cores than workers, by CPU time."""
    from ixyfwd.bench import scaling as bench  # noqa: PLC0415
    from ixyfwd.bench.throughput import TrialPlan  # noqa: PLC0415

    plan = TrialPlan(
        engines=names(engine, ENGINES, "--engine"),
        loops=names(loop, LOOPS[1:], "--loop"),
        programs=names(program or ("xconnect,touch" if by_hand else "xconnect"), tuple(programs()), "--program"),
        batches=numbers(batch, 1, MAX_BATCH, "--batch"),
        rings=rings(ring),
        frames=[64],
        flows=flows,
        workers=numbers(workers, 1, MAX_WORKERS, "--workers"),
        duration_s=duration,
        runs=runs,
        near=near,
    )
    plan.trials()
    check_outputs(csv, None)
    with progress() as report:
        found = bench.measure_by_hand(plan, report) if by_hand else bench.measure(plan, instance_name(), report)
    columns: Columns = {**({} if by_hand else SCALING), **BY_HAND}
    show(found, columns, as_json=as_json, csv=csv)


for command in (cli_compare.compare, cli_load.latency, cli_load.rfc2544, cli_load.soak):
    app.command()(command)
