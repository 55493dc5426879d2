"""Compile the extension modules in the working tree: `python scripts/build_inplace.py [engine] [model] ...`.

For development without an editable install; `scripts/run` and `scripts/test` do not need it. A name is a folder below
`ixyfwd` whose modules are compiled; without any all are.
"""

import sys
from pathlib import Path

from setuptools.dist import Distribution

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ixyfwd._build import BuildExt  # noqa: E402


def main(names: list[str]) -> None:
    """Raises SystemExit for a name that has no extension module."""
    command = BuildExt(Distribution({"name": "ixyfwd"}))
    command.inplace = True
    command.ensure_finalized()
    built = command.extensions
    for name in names:
        if not any(extension.name.startswith(f"ixyfwd.{name}.") for extension in built):
            raise SystemExit(f"no extension module below ixyfwd/{name}; there are: {', '.join(e.name for e in built)}")
    command.extensions = [e for e in built if not names or e.name.split(".")[1] in names]
    for extension in command.extensions:
        extension.extra_compile_args.append("-g")
    command.run()


if __name__ == "__main__":
    main(sys.argv[1:])
