"""Toys: parts that the project does not have, in a copy of the tree; how it is made, built and run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.testing.support import IXYFWD, ROOT, run

BUILD_TIMEOUT_S = 600.0


def copy_tree(top: Path, *folders: str, stale: tuple[str, ...] = ()) -> Path:
    """A copy of the tree's `folders` in `top`, with what is compiled there but without files of `stale` names."""
    for folder in folders:
        shutil.copytree(ROOT / folder, top / folder, ignore=shutil.ignore_patterns("__pycache__", *stale))
    return top


def run_script(copy: Path, name: str, *arguments: str) -> None:
    """`scripts/NAME ARGUMENTS` of the copy; it must succeed."""
    done = run(sys.executable, f"scripts/{name}", *arguments, cwd=copy, timeout_s=BUILD_TIMEOUT_S)
    assert done.returncode == 0, done.stderr[-4000:]


def run_in(copy: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """A command that finds the copy's `ixyfwd` and no other."""
    return run(*command, cwd=copy, env={**os.environ, "PYTHONPATH": str(copy)})


def ixyfwd(copy: Path, *arguments: str, config: str = "") -> tuple[int, str, str]:
    """`ixyfwd ARGUMENTS` of the copy, with `config` in `toy.toml`; exit code and output."""
    if config:
        (copy / "toy.toml").write_text(config)
    done = run_in(copy, *IXYFWD, *arguments)
    return done.returncode, done.stdout, done.stderr
