"""`ixyfwd config check`."""

import sys
from pathlib import Path

from ixyfwd.cli.output import Lines
from ixyfwd.cli.start import ready_config
from ixyfwd.config.cpus import format_cpu_list
from ixyfwd.config.machine import this_machine
from ixyfwd.config.placement import Placement, place
from ixyfwd.config.schema import Config


def check_command(file: Path, json: bool) -> None:
    """Check a configuration and print what it means on this machine. Raises ConfigErrors if it is wrong."""
    machine = this_machine()
    config = ready_config(file, machine)
    placement = place(config, machine.allowed)
    if json:
        Lines(sys.stdout).write_json(
            {
                "file": str(file),
                "problems": [],
                "exit_code": 0,
                "instance": config.instance,
                "ports": [port.name for port in config.ports],
                "links": config.links,
                "workers": placement.workers,
                "model": placement.model,
                "main": placement.main,
                "shared": placement.shared,
            }
        )
    else:
        Lines(sys.stdout).write(f"{file}: no problems; {described(config, placement)}")


def described(config: Config, placement: Placement) -> str:
    """What a configuration means, in half a sentence."""
    links = ", ".join(f"{a} - {b}" for a, b in config.links)
    count = len(placement.workers)
    parts = [
        f"links {links}",
        f"{count} {'worker' if count == 1 else 'workers'} on CPU {format_cpu_list(placement.workers)}",
    ]
    if placement.model is not None:
        parts.append(f"model on CPU {placement.model}")
    if placement.shared:
        parts.append("some share a CPU")
    return ", ".join(parts)
