"""`ixyfwd bench ...`: the scripted tests. Progress on standard error, the result on standard output."""

import json
import os
import sys
from typing import Annotated, Any, TypeVar

import typer

from ixyfwd.config.schema import ENGINES, MAX_MAX_FRAME_BYTES, PROGRAMS
from ixyfwd.errors import UsageError

Name = TypeVar("Name", bound=str)

app = typer.Typer(
    no_args_is_help=True, help="Measure the forwarder.", rich_markup_mode=None, pretty_exceptions_enable=False
)


@app.callback()
def _bench() -> None:
    """Keeps `throughput` a sub-command while it is the only one."""


@app.command()
def throughput(  # noqa: PLR0917
    engine: Annotated[str, typer.Option(help="engines, comma-separated")] = "native,vector",
    program: Annotated[str, typer.Option(help="programs, comma-separated")] = "xconnect",
    batch: Annotated[str, typer.Option(help="batch sizes, comma-separated")] = "32,64,256",
    ring: Annotated[int, typer.Option(help="descriptors per ring")] = 512,
    frame: Annotated[int, typer.Option(help="frame size in bytes incl. CRC", min=64, max=MAX_MAX_FRAME_BYTES)] = 64,
    workers: Annotated[int, typer.Option(help="worker processes", min=1, max=16)] = 1,
    duration: Annotated[float, typer.Option(help="seconds per run", min=0.1)] = 2.0,
    runs: Annotated[int, typer.Option(help="runs of each row", min=1)] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object instead of a table")] = False,
) -> None:
    """Forwarding rate on the model: both directions summed, as fast as the ports take frames."""
    from ixyfwd.bench.throughput import Plan, run_plan  # noqa: PLC0415 - numpy and the model are not for --help

    plan = Plan(
        engines=[_one_of(name, ENGINES, "--engine") for name in engine.split(",")],
        programs=[_one_of(name, PROGRAMS, "--program") for name in program.split(",")],
        batches=[_number(text, "--batch") for text in batch.split(",")],
        ring=ring,
        frame_bytes=frame,
        workers=workers,
        duration_s=duration,
        runs=runs,
    )
    result = run_plan(plan, f"bench-{os.getpid()}", lambda text: print(text, file=sys.stderr))
    print(json.dumps(result) if as_json else table(result))


def _one_of(text: str, known: tuple[Name, ...], option: str) -> Name:
    for name in known:
        if text.strip() == name:
            return name
    raise UsageError(f"{option}: {text!r} is not one of {', '.join(known)}")


def _number(text: str, option: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if not 1 <= value <= 4096:
        raise UsageError(f"{option}: {text!r} is not a whole number from 1 to 4096")
    return value


def table(result: dict[str, Any]) -> str:
    """The rows for a person; the device stands on every line."""
    found = result["environment"]
    lines = [
        f"{found['cpu']}, {found['cpus_allowed']} CPUs, kernel {found['kernel']}, Python {found['python']}, "
        f"numpy {found['numpy']}",
        "device  engine  program   batch  ring  bytes  workers  runs   Mpps median (min-max)     ns/packet  per burst",
    ]
    for row in result["rows"]:
        mpps, cost, burst = row["mpps"], row["ns_per_packet"], row["packets_per_burst"]
        lines.append(
            f"{row['device']:7} {row['engine']:7} {row['program']:9} {row['batch']:5} {row['ring']:5} "
            f"{row['frame_bytes']:6} {row['workers']:8} {row['runs']:5}   "
            f"{mpps['median']:6.2f} ({mpps['min']:.2f}-{mpps['max']:.2f})"
            f"{cost['median']:>16.1f} {burst['median']:>10.1f}"
        )
    return "\n".join(lines)
