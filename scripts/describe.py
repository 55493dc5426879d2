"""Write what describes the numbers of a run: `python scripts/describe.py [--check]`.

Both files are made from the rows in `ixyfwd/telemetry`: the JSON schema in the package and `docs/metrics.md`. With
`--check` nothing is written, and the exit code is 1 if one of them is not up to date.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ixyfwd.programs.registry import programs  # noqa: E402
from ixyfwd.telemetry.reference import reference  # noqa: E402
from ixyfwd.telemetry.schema import SCHEMA_FILE, schema_text  # noqa: E402

PAGE_FILE = ROOT / "docs" / "metrics.md"


def descriptions() -> Mapping[Path, str]:
    """What each file should say."""
    return {SCHEMA_FILE: schema_text(), PAGE_FILE: reference(_named())}


def _named() -> Mapping[str, Sequence[tuple[str, str, str]]]:
    return {
        name: [
            *(("drops", cause.name, cause.text) for cause in options.drop_causes),
            *(("counters", one.name, one.text) for one in options.counters),
        ]
        for name, options in programs().items()
    }


def main(arguments: list[str]) -> int:
    """The exit code."""
    stale = [path for path, text in descriptions().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if arguments == ["--check"]:
            print(f"{path} is not up to date: run scripts/describe.py")
        else:
            path.write_text(descriptions()[path])
            print(f"{path}: written")
    return int(bool(stale) and arguments == ["--check"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
