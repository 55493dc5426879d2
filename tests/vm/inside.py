"""ixyfwd inside the guest: the host's own tree, interpreter and compiled modules, under the guest's kernel.

The host's `/` is mounted read-only at /host; with the guest's /proc, /sys, /dev, /tmp and /run on top of it, a program
that is started there by chroot sees the host's files and the guest's devices.
"""

import json
import shlex
import sys
from typing import Any

from tests.vm.guest import ROOT, CheckError, Done
from tests.vm.lab import Lab

START_TIMEOUT_S = 120.0  # numpy and typer over 9p on an emulated processor
_OVER = ("proc", "sys", "dev", "tmp", "run")
_ERRORS = "/tmp/ixyfwd.err"


def mount(lab: Lab) -> None:
    """Put the guest's own file systems over the host's tree; does nothing the second time.

    A project that lies under one of them (a clone in /tmp) is put back in its place.
    """
    hidden = ROOT.parts[1] in _OVER
    keep = f"mkdir -p /mnt/project && mount --bind /host{ROOT} /mnt/project" if hidden else "true"
    again = f"mkdir -p {ROOT} && mount --bind /mnt/project /host{ROOT}" if hidden else "true"
    over = " && ".join(f"mount --rbind /{name} /host/{name}" for name in _OVER)
    lab.must(f"mountpoint -q /host/proc || {{ {keep} && {over} && {again}; }}")


def command(*arguments: str) -> str:
    """`ixyfwd ARGUMENTS` as a shell command of the guest."""
    inner = [sys.executable, "-m", "ixyfwd", *arguments]
    # Nothing can be written next to the sources: the host's tree is read-only here.
    setting = ["env", f"PYTHONPATH={ROOT}", "PYTHONDONTWRITEBYTECODE=1"]
    return shlex.join(["chroot", "/host", *setting, *inner])


def run(lab: Lab, *arguments: str, timeout_s: float = START_TIMEOUT_S) -> Done:
    """Run `ixyfwd ARGUMENTS` in the guest; what it said on both streams, and its exit code."""
    mount(lab)
    return lab.guest.run(command(*arguments), timeout_s)


def run_json(lab: Lab, *arguments: str, status: int | None = 0, timeout_s: float = START_TIMEOUT_S) -> Any:
    """Run `ixyfwd ARGUMENTS` (with --json among them) and parse what it printed on standard output.

    Raises CheckError for output that is no JSON, and for an exit code other than `status` (None: any).
    """
    mount(lab)
    done = lab.guest.run(f"{command(*arguments)} 2>{_ERRORS}", timeout_s)
    if status is not None and done.status != status:
        said = lab.guest.run(f"cat {_ERRORS}").output
        raise CheckError(f"ixyfwd {' '.join(arguments)} ended with {done.status}: {(said + done.output)[-800:]}")
    try:
        return json.loads(done.output)
    except ValueError:
        raise CheckError(f"ixyfwd {' '.join(arguments)} printed no JSON: {done.output[-300:]!r}") from None


def begin(lab: Lab, *arguments: str, timeout_s: float = START_TIMEOUT_S, errors: str = _ERRORS) -> int:
    """Start `ixyfwd ARGUMENTS` without waiting; standard error goes to the guest's file `errors`. The ticket is for
    `lab.guest.wait`."""
    mount(lab)
    return lab.guest.start(f"{command(*arguments)} 2>{errors}", timeout_s)


def write(lab: Lab, path: str, text: str) -> str:
    """Make a file in the guest (its /tmp is the same inside and outside of the chroot); its path."""
    lab.must(f"printf %s {shlex.quote(text)} >{shlex.quote(path)}")
    return path
