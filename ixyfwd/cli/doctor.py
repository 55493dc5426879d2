"""`ixyfwd doctor`."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import typer

from ixyfwd.cli.output import Lines
from ixyfwd.cli.start import ready_config
from ixyfwd.config.machine import this_machine
from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.host.doctor import SCHEMA, DoctorRow, counts, examine, exit_code, need_of
from ixyfwd.host.doctor_machine import FindingState, MachineFiles, Need
from ixyfwd.host.doctor_measure import measured_rows, unmeasured_row
from ixyfwd.host.doctor_watch import Seen, as_json, watch_machine
from ixyfwd.kit.outlet import check_open, has_colours
from ixyfwd.nic.registry import chips

_COLOURS: Final = {
    FindingState.OK: "green",
    FindingState.WARN: "yellow",
    FindingState.MISSING: "red",
    FindingState.UNKNOWN: "magenta",
}
LONGEST_WATCH_S: Final = 600
Watch = Callable[[Need, float], Seen]
_STATE_WIDTH: Final = max(len(state) for state in FindingState)


def doctor_command(
    config: Path | None,
    json: bool,
    root: str | Path = "/",
    *,
    measure_s: float | None = None,
    watch: Watch = watch_machine,
) -> int:
    """Print a row per requirement; returns the exit code, 1 if something required is missing.

    With `measure_s` the CPUs are watched for that many seconds, by `watch`. Raises ConfigErrors for a wrong file,
    UsageError for a wrong time.
    """
    if measure_s is not None and not 0 < measure_s <= LONGEST_WATCH_S:
        raise UsageError(f"--seconds: found {measure_s:g}, expected more than 0 and at most {LONGEST_WATCH_S}")
    check_open(sys.stdout)
    cpus = this_machine()
    chosen = ready_config(config, cpus)
    names = {f"{chip.vendor:04x}:{chip.device:04x}": chip.name for chip in chips()}
    tap = any(port.wire is not None and "tap" in port.wire.needs for port in chosen.ports)
    machine, need = MachineFiles(root), need_of(chosen, cpus.allowed, names, tap=tap)
    rows = examine(machine, need)
    measured: dict[str, Any] | None = None
    if measure_s is not None:
        more, measured = _measure(machine, need, measure_s, watch)
        rows += more
    out = Lines(sys.stdout)
    code = exit_code(rows)
    if json:
        out.write_json(
            {
                "schema": SCHEMA,
                "config": None if config is None else str(config),
                "rows": [row.as_json() for row in rows],
                "measured": measured,
                "counts": counts(rows),
                "exit_code": code,
            }
        )
    else:
        what = str(config) if config is not None else "two simulated ports"
        out.write(f"doctor: this machine for {what}; commands are for root")
        out.write(*_lines(rows, coloured=has_colours(sys.stdout)))
        out.write(", ".join(f"{number} {state}" for state, number in counts(rows).items()))
    return code


def _measure(
    machine: MachineFiles, need: Need, seconds: float, watch: Watch
) -> tuple[list[DoctorRow], dict[str, Any] | None]:
    try:
        seen = watch(need, seconds)
    except (IxyfwdError, OSError) as error:
        return [unmeasured_row(str(error))], None
    return measured_rows(machine, need, seen), as_json(seen, need.ring_fill_us)


def _lines(rows: Sequence[DoctorRow], *, coloured: bool) -> Iterator[str]:
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
        if row.state in {FindingState.WARN, FindingState.MISSING}:
            indent = " " * (_STATE_WIDTH + 4)
            yield f"{indent}wanted: {row.wanted}"
            yield f"{indent}fix: {row.fix}"
