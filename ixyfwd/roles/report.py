"""What a role says of a run that is over: `report_of(order, run)` in `roles/NAME/report.py`."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from ixyfwd.roles.contract import Account, RoleOrder
from ixyfwd.telemetry.counters import Word
from ixyfwd.telemetry.snapshot import Report

_PACKAGE: Final = __name__.rpartition(".")[0]


def report_of(order: RoleOrder[Account], run: Report) -> Account:
    """The account that the order's role gives."""
    account: Account = import_module(f"{_PACKAGE}.{order.role}.report").report_of(order, run)
    return account


# For roles with one worker and one port.


def words_of(run: Report) -> Mapping[Word, int]:
    """What the worker has counted in the words of `Scope.TRAFFIC`; empty if the run did not come so far."""
    return run.workers[0].traffic or {}


def single_fields(run: Report) -> dict[str, Any]:
    """Fields of a `SingleReport`: all but the command, its drops and its rate."""
    port = run.ports[0] if run.ports else None
    return {
        "port": port.device if port else None,
        "mac": port.mac if port else None,
        "device": run.device,
        "engine": run.engine,
        "uptime_s": run.uptime_s,
        "in_flight": run.in_flight,
        "faults": run.faults,
        "uncounted": run.uncounted,
        "incomplete": run.incomplete,
        "notices": run.notices,
        "reason": "count reached" if run.reason == "all wires done" else run.reason,
        "error": run.error,
        "exit_code": run.exit_code,
    }
