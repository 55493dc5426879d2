"""Build glue: cffi turns `_c/NAME.cdef.h` (declarations) and `_c/NAME_source.c` into the C that setuptools compiles.

Kept free of ixyfwd imports: setuptools loads it before the package is installed.
"""

import os
from pathlib import Path
from typing import Any

from cffi import FFI
from setuptools.command.build_ext import build_ext

HERE = Path(__file__).resolve().parent
MODULES = {
    "ixyfwd.engine._native": HERE / "engine" / "_c",
    "ixyfwd.model._datapath": HERE / "model" / "_c",
}


class BuildExt(build_ext):
    """`build_ext` that first generates the C source of each cffi module."""

    def build_extension(self, ext: Any) -> None:
        folder = MODULES[ext.name]
        stem = ext.name.rsplit(".", 1)[1].lstrip("_")
        ffi = FFI()
        ffi.cdef((folder / f"{stem}.cdef.h").read_text())
        ffi.set_source(ext.name, f'#include "{stem}.h"\n')
        generated = folder / f"_{stem}.c"
        ffi.emit_c_code(str(generated))
        ext.include_dirs.append(str(folder))
        ext.depends.extend(str(header) for header in folder.glob("*.h"))
        ext.sources[:] = [os.path.relpath(source) for source in sorted(folder.glob("*.c"))]
        super().build_extension(ext)
