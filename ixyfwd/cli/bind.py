"""`ixyfwd bind` and `ixyfwd unbind`."""

import sys
from collections.abc import Sequence
from typing import Any

from ixyfwd.cli.output import Lines
from ixyfwd.errors import UsageError
from ixyfwd.host.bind import TARGETS, Binding, bind, plan
from ixyfwd.host.journal import FILE
from ixyfwd.host.kernel import Kernel
from ixyfwd.host.restore import Return, planned, restore, unbind, unbind_all
from ixyfwd.host.steps import NO_DRIVER, Step, Write


def bind_command(  # noqa: PLR0917
    names: Sequence[str], target: str | None, force: bool, dry_run: bool, json: bool, kernel: Kernel | None = None
) -> None:
    """Take devices from their drivers, or show what that would do. Raises UsageError for an unknown `target`."""
    if target is not None and target not in TARGETS:
        raise UsageError(f"--driver: found {target!r}, expected {' or '.join(TARGETS)}")
    act = plan if dry_run else bind
    bindings = act(kernel or Kernel(), names, target, force=force)
    out = Lines(sys.stdout)
    if json:
        out.write_json({"dry_run": dry_run, "journal": FILE, "devices": [_binding_json(one) for one in bindings]})
        return
    for binding in bindings:
        out.write(*(f"note: {note}" for note in binding.notes), *_binding_lines(binding, dry_run))


def unbind_command(  # noqa: PLR0917
    names: Sequence[str],
    everything: bool,
    restore_only: bool,
    dry_run: bool,
    json: bool,
    kernel: Kernel | None = None,
) -> None:
    """Give devices back, or show what that would do. Raises UsageError for options that exclude each other."""
    if sum((bool(names), everything, restore_only)) != 1:
        raise UsageError("unbind: name devices, or give --all, or --restore")
    if dry_run and restore_only:
        raise UsageError("--dry-run: not together with --restore; `ixyfwd unbind --all --dry-run` shows all steps")
    kernel = kernel or Kernel()
    if dry_run:
        returned = planned(kernel, names or None)
    elif restore_only:
        returned = restore(kernel)
    else:
        returned = unbind_all(kernel) if everything else unbind(kernel, names)
    out = Lines(sys.stdout)
    if json:
        out.write_json({"dry_run": dry_run, "journal": FILE, "devices": [_return_json(one) for one in returned]})
        return
    for one in returned:
        out.write(*(f"note: {note}" for note in one.notes), *_return_lines(one, dry_run))
    if not returned:
        out.write("nothing is half done" if restore_only else "nothing to give back: the journal holds no device")


def _binding_lines(binding: Binding, dry_run: bool) -> list[str]:
    device = binding.device
    if not binding.steps:
        return [f"{device.label}: is with {_driver(binding.target)} already"]
    if dry_run:
        return [f"{device.label}: would note it in {FILE}", *_step_lines(binding.steps)]
    source = f"taken from {device.driver}" if device.driver else "had no driver"
    given = "left without one" if binding.target == NO_DRIVER else f"given to {binding.target}"
    return [f"{device.label}: {source}, {given}; `ixyfwd unbind {device.address}` gives it back"]


def _return_lines(one: Return, dry_run: bool) -> list[str]:
    if dry_run:
        return [f"{one.address}: would go back", *_step_lines(one.steps)] if one.steps else []
    if not one.steps:
        return []
    names = f", interface {', '.join(one.interfaces)}" if one.interfaces else ""
    return [f"{one.address}: back with {one.driver or 'no driver'}{names}"]


def _step_lines(steps: Sequence[Step]) -> list[str]:
    return [f"  would {step}" for step in steps]


def _driver(target: str) -> str:
    return "no driver" if target == NO_DRIVER else target


def _binding_json(binding: Binding) -> dict[str, Any]:
    device = binding.device
    return {
        "address": device.address,
        "interfaces": [interface.name for interface in device.interfaces],
        "from": device.driver or None,
        "to": None if binding.target == NO_DRIVER else binding.target,
        "steps": [_step_json(step) for step in binding.steps],
        "notes": binding.notes,
    }


def _return_json(one: Return) -> dict[str, Any]:
    return {
        "address": one.address,
        "driver": one.driver or None,
        "interfaces": one.interfaces,
        "steps": [_step_json(step) for step in one.steps],
        "notes": one.notes,
    }


def _step_json(step: Step) -> dict[str, str]:
    return {"write": step.path, "value": step.value} if isinstance(step, Write) else {"modprobe": step.module}
