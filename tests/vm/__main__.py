"""`scripts/vm`: build the guest, run the checks in it, or a script of one's own."""

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.vm.checks import CHECKS
from tests.vm.guest import ROOT
from tests.vm.image import Image, NoGuestError, build
from tests.vm.lab import run_check, run_script

CANNOT = 77  # the guest cannot be had here: the customary status of a skipped test


def main() -> int:
    """0 all held, 1 one did not, 2 wrong use, 77 no guest on this machine."""
    arguments = _arguments()
    if arguments.verb == "list":
        for check in CHECKS.values():
            print(f"{check.name:<18} {check.about}")
        return 0
    directory = Path(os.environ.get("IXYFWD_VM", ROOT / ".vm")).absolute()
    try:
        image = build(directory, directory.with_suffix(".log"))
    except NoGuestError as error:
        print(f"vm: no guest on this machine: {error} (log: {directory.with_suffix('.log')})", file=sys.stderr)
        return CANNOT
    if arguments.verb == "build":
        print(f"vm: ready in {directory}")
        return 0
    if arguments.verb == "run":
        return run_script(image, arguments.script, arguments.device_id, arguments.iommu)
    names = [name for name in arguments.names or CHECKS if name not in arguments.but]
    return _check(image, names, arguments.jobs, directory / "failed")


def _check(image: Image, names: list[str], jobs: int, keep: Path) -> int:
    with ThreadPoolExecutor(jobs) as pool:
        held = list(pool.map(lambda name: run_check(CHECKS[name], image, keep), names))
    failed = [name for name, good in zip(names, held, strict=True) if not good]
    verdict = f"failed: {', '.join(failed)}" if failed else "all held"
    print(f"vm: {len(names)} check{'s' * (len(names) != 1)}, {verdict}")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/vm", description="Foreign drivers judge the model.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("build", help="make the guest (root, once, about a minute)")
    verbs.add_parser("list", help="the checks by name")
    check = verbs.add_parser("check", help="run all checks, or those named")
    check.add_argument("names", nargs="*", metavar="NAME", type=_name)
    check.add_argument("--but", metavar="NAME", type=_name, nargs="+", default=[], help="leave these out")
    check.add_argument("--jobs", "-j", type=int, choices=range(1, 9), default=1, help="so many guests at a time")
    run = verbs.add_parser("run", help="boot with two ports and a cable between them, run a script there")
    run.add_argument("script")
    run.add_argument("--device-id", default="10fb", metavar="ID")
    run.add_argument("--iommu", action="store_true")
    return parser.parse_args()


def _name(text: str) -> str:
    if text not in CHECKS:
        raise argparse.ArgumentTypeError(f"no check is called {text!r}, expected one of {', '.join(CHECKS)}")
    return text


if __name__ == "__main__":
    sys.exit(main())
