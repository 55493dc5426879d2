"""`ixyfwd instances`, and `ixyfwd stop --all`."""

import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, Final

from ixyfwd.cli.control import stopped_line
from ixyfwd.cli.output import Lines, complain
from ixyfwd.cli.render import Column, make_grid
from ixyfwd.errors import IxyfwdError
from ixyfwd.supervisor.client import stop
from ixyfwd.supervisor.instances import Running, living_instances

AT_ONCE: Final = 16  # stops that are waited for side by side


def instances_command(json: bool) -> None:
    """Print the instances that run, a line each."""
    found = living_instances()
    out = Lines(sys.stdout)
    if json:
        out.write_json({"instances": [asdict(one) for one in found]})
        return
    columns = (
        Column("instance", 20, right=False),
        Column("PID", 7),
        Column("command", 8, right=False),
        Column("uptime", 9),
        Column("device", 6, right=False),
        Column("ports", 26, right=False),
    )
    title = "1 instance runs" if len(found) == 1 else f"{len(found) or 'no'} instances run"
    out.write(*make_grid(title, columns, [_row(one) for one in found]).lines() if found else [title])


def _row(one: Running) -> list[str]:
    cells = (one.name, one.pid, one.command, one.uptime_s, one.device, ", ".join(one.ports) or None)
    return ["-" if cell is None else f"{cell:.0f} s" if isinstance(cell, float) else str(cell) for cell in cells]


def stop_all_command(timeout_s: float, json: bool) -> int:
    """Stop every instance of this user, all at once; the exit code is 1 if one of them could not be stopped."""
    found = living_instances()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(lambda one: _stop(one, timeout_s), found))
    failed = any("failure" in answer for answer in answers)
    out = Lines(sys.stdout)
    if json:
        stopped = {one.name: answer for one, answer in zip(found, answers, strict=True)}
        out.write_json({"stopped": stopped, "exit_code": int(failed)})
        return int(failed)
    for one, answer in zip(found, answers, strict=True):
        if "failure" in answer:
            complain(str(answer["failure"]))
        else:
            out.write(_line(one, answer))
    if not found:
        out.write("no instances run")
    return int(failed)


def _line(one: Running, answer: Mapping[str, Any]) -> str:
    try:
        return stopped_line(one.name, answer)
    except IxyfwdError as error:  # the other instances have lines, too
        return f"{one.name}: stopped; in its report, {error}"


def _stop(one: Running, timeout_s: float) -> Mapping[str, Any]:
    try:
        return stop(one.name, timeout_s) or {}
    except IxyfwdError as error:
        return {"failure": str(error)}
