"""What the options of `ixyfwd bench` mean, and where its results go."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from ixyfwd.bench.result import as_csv, as_table
from ixyfwd.config.schema import MAX_MAX_FRAME_BYTES
from ixyfwd.errors import IxyfwdError, UsageError

Name = TypeVar("Name", bound=str)
Columns = Mapping[str, tuple[str, int | None]]

EngineOption = Annotated[str, typer.Option("--engine", help="engines, comma-separated: native, vector, naive")]
LoopOption = Annotated[str, typer.Option("--loop", help="loops, comma-separated: fused (native only), python")]
ProgramOption = Annotated[str, typer.Option("--program", help="programs, comma-separated: xconnect, touch")]
BatchOption = Annotated[str, typer.Option("--batch", help="batch sizes, comma-separated, 1 to 2048")]
RingOption = Annotated[
    str, typer.Option("--ring", help="descriptors per ring, comma-separated powers of two from 64 to 4096")
]
FlowsOption = Annotated[int, typer.Option("--flows", help="flows of each generator", min=1, max=65536)]
RunsOption = Annotated[int, typer.Option("--runs", help="runs of each row", min=1)]
DurationOption = Annotated[float, typer.Option("--duration", help="seconds per run", min=0.1)]
JsonOption = Annotated[bool, typer.Option("--json", help="one JSON object instead of a table")]
CsvOption = Annotated[Path | None, typer.Option("--csv", help="write the rows as CSV to this file, too")]
SvgOption = Annotated[Path | None, typer.Option("--svg", help="draw the rows to this SVG file, too (needs matplotlib)")]


def names(text: str, known: tuple[Name, ...], option: str) -> list[Name]:
    """A list of known names. Raises UsageError."""
    return [_one_of(part.strip(), known, option) for part in text.split(",")]


def _one_of(text: str, known: tuple[Name, ...], option: str) -> Name:
    for name in known:
        if text == name:
            return name
    raise UsageError(f"{option}: {text!r} is not one of {', '.join(known)}")


def numbers(text: str, least: int, most: int, option: str) -> list[int]:
    """A list of whole numbers. Raises UsageError."""
    return [_number(part.strip(), least, most, option) for part in text.split(",")]


def _number(text: str, least: int, most: int, option: str) -> int:
    if text.isascii() and text.isdigit() and least <= int(text) <= most:
        return int(text)
    raise UsageError(f"{option}: {text!r} is not a whole number from {least} to {most}")


def rings(text: str) -> list[int]:
    """Ring sizes. Raises UsageError."""
    found = numbers(text, 64, 4096, "--ring")
    for ring in found:
        if ring.bit_count() != 1:
            raise UsageError(f"--ring: {ring} is not a power of two from 64 to 4096")
    return found


def frames(text: str) -> list[int | str]:
    """Frame sizes in bytes with CRC, or "imix". Raises UsageError."""
    parts = [part.strip() for part in text.split(",")]
    return [part if part == "imix" else _number(part, 64, MAX_MAX_FRAME_BYTES, "--frame") for part in parts]


def show(found: Mapping[str, Any], columns: Columns, *, as_json: bool, csv: Path | None) -> None:
    """Print the result and end with exit code 1 if something was not measured."""
    if csv is not None:
        try:
            csv.write_text(as_csv(found), encoding="utf-8")
        except OSError as error:
            raise IxyfwdError(f"{csv}: the rows cannot be written: {error.strerror}") from None
    print(json.dumps(found) if as_json else as_table(found, columns))
    sys.stdout.flush()
    if found["problems"]:
        raise typer.Exit(1)
