"""The options of `ixyfwd bench`: their parsing, and the output of results."""

import errno
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer

from ixyfwd.bench.plots import check_plots
from ixyfwd.bench.progress import say
from ixyfwd.bench.result import as_csv, as_table
from ixyfwd.config.schema import MAX_MAX_FRAME_BYTES, RING_SIZES
from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.kit.outfile import check_writable, write_file
from ixyfwd.kit.outlet import check_open
from ixyfwd.programs.registry import programs

STANDARD_OUTPUT: Final = Path("-")

Name = TypeVar("Name", bound=str)
Columns = Mapping[str, tuple[str, int | None]]

EngineOption = Annotated[str, typer.Option("--engine", help="engines, comma-separated: native, vector, naive")]
LoopOption = Annotated[str, typer.Option("--loop", help="loops, comma-separated: fused (native only), python")]
ProgramOption = Annotated[str, typer.Option("--program", help=f"programs, comma-separated: {', '.join(programs())}")]
BatchOption = Annotated[str, typer.Option("--batch", help="batch sizes, comma-separated, 1 to 2048")]
RingOption = Annotated[
    str, typer.Option("--ring", help="descriptors per ring, comma-separated powers of two from 64 to 4096")
]
FlowsOption = Annotated[int, typer.Option("--flows", help="flows of each generator", min=1, max=65536)]
RunsOption = Annotated[int, typer.Option("--runs", help="runs of each row", min=1)]
DurationOption = Annotated[float, typer.Option("--duration", help="seconds per run", min=0.1)]
NearOption = Annotated[
    bool,
    typer.Option(
        "--near",
        help="wait for CPUs that are near each other, two minutes in all; repeat a run that ends with far ones",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="one JSON object instead of a table")]
CsvOption = Annotated[
    Path | None, typer.Option("--csv", help="also write the rows as CSV to this file; -: instead of the table")
]
SvgOption = Annotated[Path | None, typer.Option("--svg", help="also draw the rows to this SVG file (needs matplotlib)")]

CORES: Final[Columns] = {  # of a run that two cores take part in
    "core_distance": ("CPUs", None),
    "core_distance_ns": ("line ns", 0),
    "run_delay_share": ("run delay", 4),
}


def instance_name() -> str:
    """The name of the instance whose runs are measured."""
    from ixyfwd.config.single import own_instance  # noqa: PLC0415 - not for --help

    return own_instance("bench")


def names(text: str, known: tuple[Name, ...], option: str) -> list[Name]:
    """The names in a comma-separated text. Raises UsageError for one that is not in `known`."""
    return [_one_of(part.strip(), known, option) for part in text.split(",")]


def _one_of(text: str, known: tuple[Name, ...], option: str) -> Name:
    for name in known:
        if text == name:
            return name
    raise UsageError(f"{option}: {text!r} is not one of {', '.join(known)}")


def numbers(text: str, least: int, most: int, option: str) -> list[int]:
    """The whole numbers in a comma-separated text. Raises UsageError for one outside `least` to `most`."""
    return [_number(part.strip(), least, most, option) for part in text.split(",")]


def _number(text: str, least: int, most: int, option: str) -> int:
    if text.isascii() and text.isdigit() and least <= int(text) <= most:
        return int(text)
    raise UsageError(f"{option}: {text!r} is not a whole number from {least} to {most}")


def rings(text: str) -> list[int]:
    """The ring sizes in a comma-separated text. Raises UsageError for one that no ring can have."""
    found = numbers(text, RING_SIZES[0], RING_SIZES[-1], "--ring")
    for ring in found:
        if ring not in RING_SIZES:
            raise UsageError(f"--ring: {ring} is not a power of two from {RING_SIZES[0]} to {RING_SIZES[-1]}")
    return found


def frames(text: str) -> list[int | str]:
    """The frame sizes in a comma-separated text, in bytes with CRC, or "imix". Raises UsageError."""
    parts = [part.strip() for part in text.split(",")]
    return [part if part == "imix" else _number(part, 64, MAX_MAX_FRAME_BYTES, "--frame") for part in parts]


def check_outputs(csv: Path | None, svg: Path | None) -> None:
    """Check the outputs before minutes are spent on measuring.

    Raises IxyfwdError if the rows or the plot could not be written, or standard output
    is closed.
    """
    check_open(sys.stdout)
    for path, what in ((csv, "rows"), (svg, "plot")):
        if path is None or (path == csv == STANDARD_OUTPUT):
            continue
        if not path.parent.is_dir():
            raise IxyfwdError(f"{path}: the {what} cannot be written: there is no directory {path.parent}")
        try:
            check_writable(path)
        except OSError as error:
            raise IxyfwdError(f"{path}: the {what} cannot be written: {error.strerror}") from None
    if svg is not None:
        check_plots()


def show(
    found: Mapping[str, Any],
    columns: Columns,
    *,
    as_json: bool,
    csv: Path | None,
    svg: Path | None = None,
    draw: Callable[[Mapping[str, Any], Path], None] | None = None,
) -> None:
    """Print the result, then write the files: neither a full disk nor a reader that goes (`| head`) loses it.

    Raises typer.Exit with code 1 if the result has problems; where the output is for a
    program, they are on standard error too. Raises IxyfwdError if a file cannot be
    written.
    """
    rows_only = csv == STANDARD_OUTPUT and not as_json
    if as_json:
        _put(json.dumps(found) + "\n")
    elif rows_only:
        _put(as_csv(found))
    else:
        _put(as_table(found, columns) + "\n")
    if as_json or rows_only:
        for problem in found["problems"]:
            say(f"ixyfwd: {problem}")
    if csv is not None and csv != STANDARD_OUTPUT:
        _write(csv, as_csv(found))
    if svg is not None and draw is not None:
        draw(found, svg)
    if found["problems"]:
        raise typer.Exit(1)


def _put(text: str) -> None:
    """Onto standard output. Raises OSError if that cannot be written, but for a reader that has gone."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise


def _write(path: Path, text: str) -> None:
    try:
        write_file(path, text.encode())
    except OSError as error:
        raise IxyfwdError(f"{path}: the rows cannot be written: {error.strerror}") from None
