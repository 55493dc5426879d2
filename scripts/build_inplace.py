"""Compile the cffi modules in the working tree: `python scripts/build_inplace.py [engine] [model]`.

For development without an editable install; `scripts/run` and `scripts/test` do not need it.
"""

import sys
from pathlib import Path

from setuptools import Extension
from setuptools.dist import Distribution

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from ixyfwd._build import BuildExt  # noqa: E402

MODULES = {"engine": "ixyfwd.engine._native", "model": "ixyfwd.model._datapath"}
FLAGS = ["-O3", "-std=gnu11", "-Wall", "-Wextra", "-fno-strict-aliasing", "-g"]


def main(names: list[str]) -> None:
    for name in names or list(MODULES):
        module = MODULES[name]
        stem = module.rsplit(".", 1)[1]
        source = f"ixyfwd/{name}/_c/{stem}.c"
        extension = Extension(module, [source], extra_compile_args=FLAGS, py_limited_api=True)
        command = BuildExt(Distribution({"name": "ixyfwd", "ext_modules": [extension]}))
        command.inplace = True
        command.ensure_finalized()
        command.run()


if __name__ == "__main__":
    main(sys.argv[1:])
