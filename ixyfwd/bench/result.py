"""The result of every `bench` command: one object with `schema`, `command`, `environment` and `rows`.

A row says what was measured (`engine`, `loop`, `program`, `batch`, `ring`,
`frame_bytes`, `workers`), on which `device` ("model" or "wire"; `device_note` is "by
hand" where the benchmark itself finished the descriptors, in the same thread), how
often (`runs`), and holds spreads: objects with `median`, `min` and `max`. `mpps`
(million packets a second, both directions summed) and `ns_per_packet` (busy time of a
worker) are in every row but those of `compare` and of `scaling --by-hand`; commands add
their own, described in docs/benchmarks.md. `problems` are sentences about what could
not be measured; with any, the exit code is 1.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

from ixyfwd.bench.environment import environment

SCHEMA: Final = "ixyfwd-bench-3"

Row = dict[str, Any]

COLUMNS: Final = {  # of the table: path in a row, heading, decimals
    "device": ("device", None),
    "engine": ("engine", None),
    "loop": ("loop", None),
    "program": ("program", None),
    "batch": ("batch", None),
    "ring": ("ring", None),
    "frame_bytes": ("bytes", None),
    "workers": ("workers", None),
    "runs": ("runs", None),
}


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """The median, minimum and maximum of values. Raises ValueError for no values."""
    if not values:
        raise ValueError("nothing was measured")
    return {
        "median": round(median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def result(command: str, rows: Sequence[Row], problems: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    """The result object; `more` are further keys of the command."""
    return {
        "schema": SCHEMA,
        "command": command,
        "environment": environment(),
        **more,
        "rows": list(rows),
        "problems": list(problems),
    }


def flat(row: Row) -> dict[str, Any]:
    """A row without nesting: {"mpps": {"median": 1}} becomes {"mpps_median": 1}."""
    cells: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            cells |= {f"{key}_{name}": inner for name, inner in flat(dict(value)).items()}
        elif isinstance(value, list | tuple):
            cells[key] = " ".join(str(item) for item in value)
        else:
            cells[key] = value
    return cells


def as_csv(found: Mapping[str, Any]) -> str:
    """The rows with one line of headings; the environment does not fit a table and is left out."""
    rows = [flat(row) for row in found["rows"]]
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def as_table(found: Mapping[str, Any], extra: Mapping[str, tuple[str, int | None]]) -> str:
    """The rows as a Markdown table below a line about the machine; a spread is shown as "median (min-max)".

    `extra`: further columns, by key, with heading and decimals.
    """
    columns = {**COLUMNS, **extra}
    lines = [machine(found["environment"])]
    shown = [{**row, "device": device_of(row)} for row in found["rows"]]
    rows = [[_cell(row.get(key), digits) for key, (_, digits) in columns.items()] for row in shown]
    headings = [heading for heading, _ in columns.values()]
    widths = [max(len(cell) for cell in column) for column in zip(headings, *rows, strict=True)]
    rule = ["-" * width for width in widths]
    for cells in (headings, rule, *rows):
        lines.append("| " + " | ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True)) + " |")
    lines += [found["note"]] if "note" in found else []
    return "\n".join([*lines, *(f"not measured: {problem}" for problem in found["problems"])])


def device_of(row: Mapping[str, Any]) -> str:
    """The row's device for a person: "model", "wire", "model, by hand"."""
    return ", ".join(str(row[key]) for key in ("device", "device_note") if row.get(key))


def machine(found: Mapping[str, Any]) -> str:
    """The line about the environment of a measurement."""
    kind = " (virtual machine)" if found["virtual_machine"] else ""
    return (
        f"{found['cpu']}{kind}, {found['cpus_allowed']} CPUs, kernel {found['kernel']}, Python {found['python']}, "
        f"numpy {found['numpy']}, ixyfwd {found['ixyfwd']} {found['commit'] or ''}".rstrip()
    )


def _cell(value: Any, digits: int | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, Mapping):
        middle, low, high = (_cell(value[key], digits) for key in ("median", "min", "max"))
        return f"{middle} ({low}-{high})"
    if isinstance(value, float) and digits is not None:
        return f"{value:.{digits}f}"
    return str(value)
