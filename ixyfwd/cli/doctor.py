"""`ixyfwd doctor`."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import typer

from ixyfwd.cli.output import Lines
from ixyfwd.cli.start import ready_config
from ixyfwd.config.machine import this_machine
from ixyfwd.host.doctor import SCHEMA, Row, counts, examine, exit_code, need_of
from ixyfwd.host.doctor_machine import Machine, State
from ixyfwd.nic.registry import chips

_COLOURS: Final = {State.OK: "green", State.WARN: "yellow", State.MISSING: "red", State.UNKNOWN: "magenta"}
_STATE_WIDTH: Final = max(len(state) for state in State)


def doctor_command(config: Path | None, json: bool, root: str | Path = "/") -> int:
    """Print a row per requirement; 1 if something required is missing. Raises ConfigErrors for a wrong file."""
    cpus = this_machine()
    chosen = ready_config(config, cpus)
    names = {f"{chip.vendor:04x}:{chip.device:04x}": chip.name for chip in chips()}
    tap = any(port.wire is not None and "tap" in port.wire.needs for port in chosen.ports)
    rows = examine(Machine(root), need_of(chosen, cpus.allowed, names, tap=tap))
    out = Lines(sys.stdout)
    code = exit_code(rows)
    if json:
        out.write_json(
            {
                "schema": SCHEMA,
                "config": None if config is None else str(config),
                "rows": [row.as_json() for row in rows],
                "counts": counts(rows),
                "exit_code": code,
            }
        )
    else:
        what = str(config) if config is not None else "two simulated ports"
        out.write(f"doctor: this machine for {what}; commands are for root")
        out.write(*_lines(rows, coloured=sys.stdout.isatty() and not os.environ.get("NO_COLOR")))
        out.write(", ".join(f"{number} {state}" for state, number in counts(rows).items()))
    return code


def _lines(rows: Sequence[Row], *, coloured: bool) -> Iterator[str]:
    """A line per row; under those that are not ok what is wanted and what to do."""
    width = max((len(row.label) for row in rows), default=0)
    topic = ""
    for row in rows:
        if row.topic != topic:
            topic = row.topic
            yield topic
        state = row.state.value.ljust(_STATE_WIDTH)
        if coloured:
            state = typer.style(state, fg=_COLOURS[row.state])
        yield f"  {state} {row.label.ljust(width)}  {row.found}"
        if row.state in {State.WARN, State.MISSING}:
            indent = " " * (_STATE_WIDTH + 4)
            yield f"{indent}wanted: {row.wanted}"
            yield f"{indent}fix: {row.fix}"
