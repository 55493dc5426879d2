"""A check in progress: the model, the guest, and steps that print a line each."""

import contextlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.vm.guest import CheckError, Done, Guest, Hardware
from tests.vm.image import Image
from tests.vm.model import Model

SCRIPT_TIMEOUT_S = 3600.0
Step = Callable[["Lab"], str]


@dataclass(frozen=True)
class Check:
    """What `scripts/vm check NAME` does. `wires`: the far end of port a and of port b."""

    name: str
    about: str
    steps: Sequence[tuple[str, Step]]
    device_id: str = "10fb"
    wires: tuple[str, ...] = ("cable:b", "cable:a")
    hardware: Hardware = field(default_factory=Hardware)
    model_options: tuple[str, ...] = ()


class Lab:
    """What a step works with."""

    def __init__(self, model: Model, guest: Guest) -> None:
        self.model = model
        self.guest = guest

    def must(self, script: str, timeout_s: float = 60.0) -> str:
        """Run in the guest; a status other than 0 fails the step."""
        return self.guest.must(script, timeout_s)

    def until(self, what: str, script: str, timeout_s: float = 30.0) -> Done:
        """Run `script` again and again until it ends with 0."""
        deadline = time.monotonic() + timeout_s
        while True:
            done = self.guest.run(script)
            if done.status == 0:
                return done
            if time.monotonic() > deadline:
                raise CheckError(f"{what} did not come about within {timeout_s:g} s: {done.output.strip()[-300:]}")
            time.sleep(0.3)


def no_faults(lab: Lab) -> str:
    """A step: the model recorded nothing against the driver."""
    faults = lab.model.faults()
    if faults:
        raise CheckError(json.dumps(faults)[:1000])
    return "none recorded"


def run_check(check: Check, image: Image, keep: Path) -> bool:
    """Print a line per step. True if all held; the logs of a failed check are kept in `keep`/NAME."""
    folder = Path(tempfile.mkdtemp(prefix="vm-"))  # short: socket paths are limited to 107 bytes
    good = False
    try:
        good = _run_in(check, image, folder)
    finally:
        if not good:
            kept = keep / check.name
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("*.sock"))
            print(f"     {check.name}: console, model log and QEMU's command line are kept in {kept}", flush=True)
        shutil.rmtree(folder)
    return good


def run_script(image: Image, script: str, device_id: str, iommu: bool) -> int:
    """Boot, run `script` with two ports and a cable between them, print what it said; its status."""
    with tempfile.TemporaryDirectory(prefix="vm-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        model = stack.enter_context(Model(folder, device_id, ("cable:b", "cable:a")))
        guest = stack.enter_context(Guest(image, model.sockets, Hardware(iommu=iommu, hugepages=256), folder))
        done = guest.run(script, SCRIPT_TIMEOUT_S)
        print(done.output, end="")
        faults = model.faults()
        if faults:
            print(f"vm: the model recorded against the driver: {faults}")
        return done.status


def _run_in(check: Check, image: Image, folder: Path) -> bool:
    with contextlib.ExitStack() as stack:
        with _line(check.name, "boot") as line:
            model = stack.enter_context(Model(folder, check.device_id, check.wires, check.model_options))
            guest = stack.enter_context(Guest(image, model.sockets, check.hardware, folder))
            line.figures = f"Linux {guest.release}"
        if not line.good:
            return False
        lab = Lab(model, guest)
        lines = [line]
        for name, step in check.steps:
            with _line(check.name, name) as line:
                line.figures = step(lab)
            lines.append(line)
        dmesg = guest.run("dmesg").output if guest.alive() else ""
        (folder / "dmesg.log").write_text(dmesg)
        return all(line.good for line in lines)


@dataclass
class _Line:
    figures: str = ""
    good: bool = False


@contextlib.contextmanager
def _line(check: str, step: str) -> Iterator[_Line]:
    line = _Line()
    began = time.monotonic()
    try:
        yield line
        line.good = True
    except CheckError as error:
        line.figures = str(error)
    verdict = "ok  " if line.good else "FAIL"
    print(f"{verdict} {check:<18} {step:<14} {time.monotonic() - began:5.1f} s  {line.figures}", flush=True)
