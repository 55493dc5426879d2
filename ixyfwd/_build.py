"""Build glue: every folder named `_c` below the package is one extension module of the folder above it.

`_c/NAME.cdef.h` makes it a cffi module `_NAME`: cffi turns the declarations and `_c/NAME.h` into C, which is compiled
with all other `.c` files of the folder and of folders in it. Those may declare more for Python, each between the lines
`/* for Python */` and `/* end */`, so that a part in one file needs no line in another. Without a `.cdef.h` it is a
module written for Python's limited API in `_c/NAMEmodule.c`. Nothing else names a module, so a new folder is built
without a change here.

A `.cdef.h` may include a header of the package by its path, `#include "engine/batch.h"`; cffi reads its text then. One
such header, `telemetry/words.h`, is written first, from the rows in `telemetry/counters.py`.
A `_c` folder with a `frame_op.h` is compiled with what that makes of each `programs/NAME/frame.h`: see there.

Kept free of ixyfwd imports: setuptools loads it before the package is installed.
"""

import os
import re
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from cffi import FFI
from setuptools import Extension
from setuptools.command.build_ext import build_ext

PACKAGE = Path(__file__).resolve().parent
FLAGS = ("-O3", "-std=gnu11", "-Wall", "-Wextra", "-fno-strict-aliasing")
ABI3_MACRO = ("Py_LIMITED_API", "0x030b0000")
CDEF = ".cdef.h"
MODULE = "module.c"
SHARED = ("engine", "telemetry", "traffic")  # whose headers the C of other folders includes
INCLUDED = re.compile(r'^#include "([^"]+)"$', re.MULTILINE)
OF_EACH = re.compile(r"^/\* for Python, of each program\n(.*?)^\*/$", re.MULTILINE | re.DOTALL)
DECLARED = re.compile(r"^/\* for Python \*/\n(.*?)^/\* end \*/$", re.MULTILINE | re.DOTALL)


def write_words(package: Path = PACKAGE) -> None:
    """Write `telemetry/words.h`: the words of the counters page for C. Nothing is touched if it is up to date."""
    rows = package / "telemetry" / "counters.py"
    spec = spec_from_file_location("_ixyfwd_counters", rows)
    if spec is None or spec.loader is None:
        raise ImportError(f"{rows} cannot be loaded")
    counters = module_from_spec(spec)
    spec.loader.exec_module(counters)
    header, text = package / "telemetry" / "words.h", counters.words_header()
    if not header.exists() or header.read_text() != text:
        header.write_text(text)


def extensions(package: Path = PACKAGE) -> list[Any]:
    """The extension modules below `package`, by the name that Python imports them under.

    A folder in which only generated files are left, of a module that moved or is gone, makes none.
    """
    return [_extension(folder, package.parent) for folder in sorted(package.rglob("_c")) if _written(folder)]


def _extension(folder: Path, top: Path) -> Extension:
    stem = _stem(folder)
    generated = {folder / f"_{stem}.c", *_frame_ops(folder)} if _is_cffi(folder, stem) else set()
    return Extension(
        ".".join((*folder.parent.relative_to(top).parts, f"_{stem}")),
        [os.path.relpath(source) for source in sorted(generated | _written(folder))],
        include_dirs=[str(folder), str(PACKAGE)],
        depends=[str(header) for header in _headers(folder, top)],
        define_macros=[] if generated else [ABI3_MACRO],  # cffi's code defines it by itself
        extra_compile_args=list(FLAGS),
        py_limited_api=True,
    )


def _written(folder: Path) -> set[Path]:
    """The sources in a `_c` folder. What begins with "_" is generated, perhaps of a program that is there no more."""
    return {path for path in folder.rglob("*.c") if not path.name.startswith("_")}


def _headers(folder: Path, top: Path) -> list[Path]:
    """All that the sources in a `_c` folder may include."""
    shared = (top.glob(f"*/{name}/*.h") for name in SHARED)
    found = (folder.rglob("*.h"), *shared, top.glob("*/programs/*/frame.h"))
    return [header for some in found for header in sorted(some)]


def _stem(folder: Path) -> str:
    """NAME of the one file in `folder` that makes it a module. Raises ValueError if there is none, or are several."""
    found = [path.name.removesuffix(CDEF) for path in folder.glob(f"*{CDEF}")]
    found = found or [path.name.removesuffix(MODULE) for path in folder.glob(f"*{MODULE}")]
    if len(found) != 1:
        raise ValueError(f"{folder}: expected one file named NAME{CDEF} or NAME{MODULE}, found {len(found)}")
    return found[0]


def _frame_ops(folder: Path) -> dict[Path, str]:
    """The generated sources of a folder with a `frame_op.h`, by path: one for each program with a `frame.h`."""
    if not (folder / "frame_op.h").exists():
        return {}
    package = next(parent for parent in folder.parents if (parent / "_build.py").exists())
    declared = "".join(OF_EACH.findall((folder / "frame_op.h").read_text()))
    return {
        folder / f"_op_{header.parent.name}.c": _frame_op(
            header.parent.name, os.path.relpath(header, folder), _stem(folder), declared
        )
        for header in sorted(package.glob("programs/*/frame.h"))
    }


def _frame_op(name: str, header: str, stem: str, declared: str) -> str:
    """`declared`: what the folder's `frame_op.h` declares of each program NAME."""
    return f"""/* Generated from {header}. */
#include "{header}"
#include "{stem}.h"

/* for Python */
{declared.replace("NAME", name)}/* end */

#define FRAME_OP {name}
#include "frame_op.h"
"""


def declarations(folder: Path) -> str:
    """What the sources of a `_c` folder declare for Python besides its `.cdef.h`, in the order of their paths."""
    sources = [path.read_text() for path in sorted(folder.rglob("*.[ch]")) if not path.name.startswith("_")]
    return "\n".join(part for text in (*sources, *_frame_ops(folder).values()) for part in DECLARED.findall(text))


def _text_of(include: re.Match[str]) -> str:
    return INCLUDED.sub(_text_of, (PACKAGE / include[1]).read_text())


def _is_cffi(folder: Path, stem: str) -> bool:
    return (folder / f"{stem}{CDEF}").exists()


class BuildExt(build_ext):
    """`build_ext` of all extension modules; first generates the C source of each cffi module."""

    def finalize_options(self) -> None:
        """The list in pyproject.toml only tells setuptools that there is something to compile."""
        write_words()  # first: modules depend on it
        self.distribution.ext_modules = extensions()
        super().finalize_options()

    def build_extension(self, ext: Any) -> None:
        """Generate what cffi has to generate, then compile."""
        folder = Path(ext.include_dirs[0])
        stem = _stem(folder)
        if _is_cffi(folder, stem):
            for path, text in _frame_ops(folder).items():
                if not path.exists() or path.read_text() != text:
                    path.write_text(text)
            ffi = FFI()
            more = declarations(folder)
            ffi.cdef(INCLUDED.sub(_text_of, (folder / f"{stem}{CDEF}").read_text()) + more)
            ffi.set_source(ext.name, f'#include "{stem}.h"\n{more}')
            ffi.emit_c_code(str(folder / f"_{stem}.c"))
        super().build_extension(ext)
