"""Builds: trees of ixyfwd with their extension modules compiled, in a cache whose key is all that they depend on.

A build is made by the tree's own `scripts/build_inplace.py` with the interpreter, the
packages and the compiler of this process: two trees built here differ by their files
only. No network is used.
"""

import fcntl
import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ixyfwd.bench.checkout import Checkout, Revision
from ixyfwd.errors import UsageError

KEPT: Final = 8  # builds, of some 8 MiB each
BUILD_TIMEOUT_S: Final = 600.0
LOCK: Final = ".in-use"
# An editable installation would give a tree modules that it lacks, such as those that failed to compile.
ALONE: Final = """
import sys
sys.meta_path[:] = [one for one in sys.meta_path if not getattr(one, "__module__", "").startswith("__editable__")]
"""
FLAGS: Final = ("CC", "CFLAGS", "CPPFLAGS", "LDFLAGS", "LDSHARED")


def cache_folder() -> Path:
    """The folder of builds: `builds` below `ixyfwd` in the cache directory of the user."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".cache") / "ixyfwd" / "builds"


def compiler() -> str:
    """The C compiler of extension modules, with its version. Raises UsageError if it does not run."""
    command = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    try:
        said = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, timeout=60)  # noqa: S603
        return said.stdout.splitlines()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        raise UsageError(f"commits cannot be built: the C compiler {shlex.join(command)!r} does not run") from None


@contextmanager
def built(checkout: Checkout, source: Revision, progress: Callable[[str], None]) -> Iterator[Path]:
    """The directory of a revision with all modules compiled; it is kept while the context is open.

    Raises UsageError if the tree does not build or the cache cannot be written.
    """
    folder = cache_folder()
    place = folder / f"{source.tree[:16]}-{_key()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _lock(place)
        while lock is None:
            progress(f"building {source}")
            _build(checkout, source, place)
            lock = _lock(place)
        os.utime(place)  # used last now
        _forget_old(folder)
    except OSError as error:
        raise UsageError(f"{error.filename or folder}: builds cannot be kept there: {error.strerror}") from None
    try:
        yield place
    finally:
        os.close(lock)


def _key() -> str:
    """A digest of all that makes different code from the same files."""
    flags = [f"{name}={os.environ.get(name, '')}" for name in FLAGS]
    made_by = [compiler(), sys.version, sys.prefix, *flags]
    return hashlib.sha256("\n".join(made_by).encode()).hexdigest()[:8]


def _lock(place: Path) -> int | None:
    """A locked descriptor that keeps a build from being removed; None if there is no such build."""
    try:
        lock = os.open(place / LOCK, os.O_RDONLY)
    except FileNotFoundError:
        return None
    fcntl.flock(lock, fcntl.LOCK_SH)
    if (place / LOCK).exists():
        return lock
    os.close(lock)  # it was removed before the lock was ours
    return None


def _build(checkout: Checkout, source: Revision, place: Path) -> None:
    """Make a build beside its place and move it there whole. Of two at the same time the first one stays."""
    if importlib.util.find_spec("setuptools") is None:
        raise UsageError(f"commits cannot be built: {sys.executable} has no setuptools; pip install setuptools")
    with tempfile.TemporaryDirectory(prefix=".new-", dir=place.parent) as name:
        tree = Path(name) / "tree"
        tree.mkdir()
        checkout.write(source, tree)
        script = tree / "scripts" / "build_inplace.py"
        if not script.exists():
            raise UsageError(f"{source} cannot be built: it has no scripts/build_inplace.py")
        (tree / "sitecustomize.py").write_text(ALONE, encoding="utf-8")
        done = _run(source, tree, str(script))
        if done.returncode:
            raise UsageError(f"{source} does not build: {_reason(done.stderr)}")
        _run(source, tree, "-m", "compileall", "-q", "ixyfwd")  # once, and not in every run
        (tree / LOCK).touch()
        with suppress(FileExistsError):
            _move(tree, place)


def _run(source: Revision, tree: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run this interpreter in a tree. Raises UsageError if it is not over after BUILD_TIMEOUT_S."""
    try:
        return subprocess.run(  # noqa: S603
            [sys.executable, *words],
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise UsageError(f"{source} does not build: it did not end within {BUILD_TIMEOUT_S:g} s") from None


def _move(tree: Path, place: Path) -> None:
    """Move a tree to its place. Raises FileExistsError if a build is there."""
    try:
        tree.rename(place)
    except OSError as error:
        if place.is_dir():
            raise FileExistsError(str(place)) from None
        raise error from None


def _reason(said: str) -> str:
    """The compiler's first error, or the last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return next((line for line in lines if "error:" in line), lines[-1] if lines else "the build printed no reason")


def _forget_old(folder: Path) -> None:
    """Remove all builds except the KEPT ones that were used last and those in use."""
    builds = sorted(
        (path for path in folder.iterdir() if (path / LOCK).exists()), key=lambda path: path.stat().st_mtime
    )
    for place in builds[:-KEPT]:
        with (place / LOCK).open("rb") as lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            old = place.rename(tempfile.mkdtemp(prefix=".old-", dir=folder))
            shutil.rmtree(old)
