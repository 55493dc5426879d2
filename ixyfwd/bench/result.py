"""What a bench command found, as one object, and its forms: JSON, CSV, a table. docs/bench-schema.md explains the keys.

Every command prints the same object: `schema`, `command`, `environment`, `rows` and, if something went wrong,
`failures`. A row always has the keys of `Row`; a command adds its own. Tools compare `schema` before they read: its
number goes up when a key changes its meaning or goes away, not when one is added.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final, Literal, NotRequired, TypedDict

from ixyfwd.errors import IxyfwdError

SCHEMA: Final = "ixyfwd-bench-2"
DEVICES: Final = ("model", "wire", "mixed")

Device = Literal["model", "wire", "mixed"]


class Spread(TypedDict):
    """What the runs of a row came to."""

    median: float
    min: float
    max: float


class Row(TypedDict):
    """The keys of every row. `frame_bytes` counts the CRC and is "imix" for the mix; `loop` is "python" (one call per
    burst) or "fused" (many rounds in C); `device_note` says how the device was driven if not as in a real run."""

    engine: str
    program: str
    loop: str
    batch: int
    ring: int
    frame_bytes: int | str
    workers: int
    device: Device
    device_note: NotRequired[str]
    runs: int
    mpps: Spread
    ns_per_packet: Spread


class Result(TypedDict):
    """A whole command's finding. `failures` are sentences about runs that gave no figure, `notes` about all rows."""

    schema: str
    command: str
    environment: dict[str, Any]
    rows: list[dict[str, Any]]  # each with the keys of Row and the command's own
    notes: list[str]
    failures: list[str]


@dataclass(frozen=True)
class Column:
    """A column of the table: `key` may lead into a row ("mpps.median"); `form` is a format specification."""

    key: str
    heading: str
    form: str = ""


IDENTITY: Final = (
    Column("device", "device"),
    Column("engine", "engine"),
    Column("loop", "loop"),
    Column("program", "program"),
    Column("batch", "batch"),
    Column("ring", "ring"),
    Column("frame_bytes", "bytes"),
    Column("workers", "workers"),
    Column("runs", "runs"),
)
MPPS: Final = (
    Column("mpps.median", "Mpps", ".2f"),
    Column("mpps.min", "min", ".2f"),
    Column("mpps.max", "max", ".2f"),
)
NS_PER_PACKET: Final = (
    Column("ns_per_packet.median", "ns/packet", ".1f"),
    Column("ns_per_packet.min", "min", ".1f"),
    Column("ns_per_packet.max", "max", ".1f"),
)


def spread(values: Sequence[float], digits: int = 3) -> Spread:
    """Median, minimum and maximum of at least one value, rounded."""
    return {
        "median": round(median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def new_result(
    command: str,
    environment: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    *,
    notes: Sequence[str] = (),
    failures: Sequence[str] = (),
) -> Result:
    """Put a result together. Raises IxyfwdError if a row lacks a key that every row has: a bug of the command."""
    for row in rows:
        missing = sorted(Row.__required_keys__ - row.keys())
        if missing:
            raise IxyfwdError(f"bench {command}: a row without {', '.join(missing)}: {dict(row)}")
    return {
        "schema": SCHEMA,
        "command": command,
        "environment": dict(environment),
        "rows": [dict(row) for row in rows],
        "notes": list(notes),
        "failures": list(failures),
    }


def as_json(result: Result) -> str:
    """One line."""
    return json.dumps(result)


def as_csv(result: Result) -> str:
    """A line per row below a line of names; what is nested has names like `mpps.median`. With the schema's name in the
    first column, so that a file on its own still says what it is."""
    flat = [{"schema": result["schema"], "command": result["command"], **flatten(row)} for row in result["rows"]]
    names = list(dict.fromkeys(name for row in flat for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return text.getvalue()


def as_table(result: Result, columns: Sequence[Column]) -> str:
    """A Markdown table below the environment in a sentence, the notes below it."""
    cells = [[column.heading for column in columns]]
    cells += [[_cell(row, column) for column in columns] for row in result["rows"]]
    widths = [max(len(line[k]) for line in cells) for k in range(len(columns))]
    lines = [
        "| " + " | ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in cells
    ]
    rule = "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|"
    return "\n".join([_machine(result["environment"]), "", lines[0], rule, *lines[1:], "", *result["notes"]]).rstrip()


def flatten(row: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"mpps": {"median": 1}} -> {"mpps.median": 1}; lists become JSON."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = json.dumps(value) if isinstance(value, list) else value
    return flat


def _cell(row: Mapping[str, Any], column: Column) -> str:
    value: Any = row
    for part in column.key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None:
        return "-"
    return format(value, column.form) if not isinstance(value, str) else value


def _machine(found: Mapping[str, Any]) -> str:
    return (
        f"{found.get('cpu')}, {found.get('cpus_allowed')} CPUs, kernel {found.get('kernel')}, "
        f"Python {found.get('python')}, numpy {found.get('numpy')}"
    )
