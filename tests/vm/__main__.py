"""`scripts/vm`: build the guest, run the checks in it, or open a shell of one."""

import argparse
import os
import sys
from pathlib import Path

from tests.vm.checks import CHECKS
from tests.vm.guest import ROOT
from tests.vm.image import Image, NoGuestError, build
from tests.vm.lab import run_check

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
    return _check(image, arguments.names or list(CHECKS), directory / "failed")


def _check(image: Image, names: list[str], keep: Path) -> int:
    failed = [name for name in names if not run_check(CHECKS[name], image, keep)]
    verdict = f"failed: {', '.join(failed)}" if failed else "all held"
    print(f"vm: {len(names)} checks, {verdict}")
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/vm", description="Foreign drivers judge the model, in a virtual machine."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("build", help="make the guest (root, once, about a minute)")
    verbs.add_parser("list", help="the checks by name")
    check = verbs.add_parser("check", help="run all checks, or those named")
    check.add_argument("names", nargs="*", metavar="NAME", choices=[[], *CHECKS])
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
