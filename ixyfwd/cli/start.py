"""`ixyfwd start`."""

import math
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ixyfwd.cli.live import watcher_for
from ixyfwd.cli.output import Lines, holding_nothing_up, write_report
from ixyfwd.cli.render import incomplete_lines, status_grids
from ixyfwd.config.default import default_config
from ixyfwd.config.ending import check_ends
from ixyfwd.config.load import load_config
from ixyfwd.config.machine import Machine, check, this_machine
from ixyfwd.config.schema import NAME, NAME_EXPECTED, Config
from ixyfwd.errors import IxyfwdError, UsageError
from ixyfwd.settings.problems import ConfigErrors
from ixyfwd.telemetry.plain import to_plain
from ixyfwd.telemetry.snapshot import Report


@dataclass(frozen=True)
class StartOptions:
    """The options of `ixyfwd start`. `begun_ns`: CLOCK_MONOTONIC when the process began, if known."""

    config: Path | None
    duration_s: float | None
    until_done: bool
    json: bool
    instance: str | None
    quiet: bool
    begun_ns: int | None


def start_command(options: StartOptions) -> int:
    """Run the forwarder; returns the exit code that its report asks for."""
    check_duration(options.duration_s)
    config = ready_config(options.config, this_machine())
    if options.instance is not None:
        check_instance_name(options.instance)
        config = config.named(options.instance)
    if options.until_done:
        check_ends(config)
    replay_bindings(config)
    report = _run(config, options)
    lines = [] if options.json else summary_lines(report)
    write_report(to_plain(report), lines, sys.stdout, json=options.json)
    return report.exit_code


def ready_config(path: Path | None, machine: Machine) -> Config:
    """The configuration in a file (None: the default one), checked against the machine. Raises ConfigErrors."""
    if path is None:
        return default_config(sorted(machine.allowed))
    config = load_config(path)
    problems = check(config, machine)
    if problems:
        raise ConfigErrors(problems)
    return config


def check_duration(seconds: float | None) -> None:
    """Check the seconds of `--duration`. Raises UsageError unless they are above 0 and finite."""
    if seconds is not None and not 0 < seconds < math.inf:
        raise UsageError(f"--duration: found {seconds:g}, expected a number of seconds above 0")


def check_instance_name(name: str) -> None:
    """Check the name of `--instance`. Raises UsageError if an instance cannot have it."""
    if not NAME.fullmatch(name):
        raise UsageError(f"--instance: found {name!r}, expected {NAME_EXPECTED}")


def replay_bindings(config: Config) -> None:
    """Put right what a killed `bind` or `unbind` left half done, before devices are opened.

    Said on standard error. What cannot be put right does not stop the start: opening the device tells whether it
    matters.
    """
    from ixyfwd.kit.pciaddress import pci_address  # noqa: PLC0415

    if os.geteuid() != 0 or not any(pci_address(port.device) for port in config.ports):
        return
    from ixyfwd.host.kernel import Kernel  # noqa: PLC0415
    from ixyfwd.host.restore import needs_replay, restore  # noqa: PLC0415

    kernel = Kernel()
    try:
        returned = restore(kernel) if needs_replay(kernel) else []
        notes = [
            f"{one.address}: was half bound, is back with {one.driver or 'no driver'}" for one in returned if one.steps
        ]
        notes += [note for one in returned for note in one.notes]
    except IxyfwdError as error:
        notes = str(error).splitlines()
    with suppress(IxyfwdError):
        Lines(sys.stderr).write(*(f"note: {note}" for note in notes))


def _run(config: Config, options: StartOptions) -> Report:
    from ixyfwd.supervisor.run import run_forwarder  # noqa: PLC0415 - the driver and psutil, after the options are right

    watching = watcher_for(sys.stdout, json=options.json, quiet=options.quiet, progress=sys.stderr)
    with holding_nothing_up(), watching as watcher:
        return run_forwarder(
            config,
            duration_s=options.duration_s,
            until_done=options.until_done,
            observer=watcher,
            begun_ns=options.begun_ns,
            keep_events=True,
        )


def summary_lines(report: Report) -> list[str]:
    """The final report as tables, and what it lacks."""
    return [*(line for grid in status_grids(report) for line in grid.lines()), *incomplete_lines(report)]
