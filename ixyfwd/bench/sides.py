"""The two sides of a comparison, each a commit, the working tree or an environment, and the processes that run it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ixyfwd.bench.builds import built, compiler
from ixyfwd.bench.checkout import ROOT, Checkout, Revision
from ixyfwd.bench.cost import Case
from ixyfwd.errors import IxyfwdError, UsageError

WORKING_TREE: Final = "."
WRONG_USE: Final = 2
GRACE_S: Final = 15.0  # for a run to end after SIGINT
ASK_TIMEOUT_S: Final = 60.0
WHO: Final = """
import json, platform, sys
from importlib.metadata import version
import ixyfwd
facts = {"ixyfwd": ixyfwd.__version__, "python": platform.python_version()}
facts |= {name: version(name) for name in ("numpy", "cffi")}
print(json.dumps({"file": ixyfwd.__file__, "facts": facts}))
"""
# By the name that commits of all ages use.
FUNCTIONS: Final = """
import json, sys
from ixyfwd.bench.cost import Case, _functions
print(json.dumps([_functions(Case(*words)) for words in json.loads(sys.argv[1])]))
"""


@dataclass(frozen=True)
class Side:
    """A side: where its processes find their code."""

    name: str
    python: str
    folder: Path
    env: Mapping[str, str]
    facts: Mapping[str, str | None]  # for the report: name, commit, versions

    def __str__(self) -> str:
        return self.name

    def run(self, *words: str, timeout_s: float) -> "subprocess.CompletedProcess[str]":
        """Run `ixyfwd WORDS` of this side to its end; Ctrl-C ends it in order.

        Raises IxyfwdError if it does not end within `timeout_s` seconds.
        """
        command = [self.python, "-m", "ixyfwd", *words]
        with subprocess.Popen(  # noqa: S603
            command,
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a terminal's Ctrl-C comes to this process only, which passes it on once
        ) as process:
            try:
                out, said = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                _end(process)
                raise IxyfwdError(f"{self}: ixyfwd {' '.join(words[:2])} did not end within {timeout_s:g} s") from None
            except BaseException:
                _end(process)
                raise
        return subprocess.CompletedProcess(command, process.returncode, out, said)

    def functions(self, cases: Sequence[Case]) -> list[list[str]]:
        """The names of the C functions that each case of `bench cost` calls on this side. Raises IxyfwdError."""
        words = [(case.engine, case.loop, case.program, case.batch, case.ring) for case in cases]
        done = _python(self.python, self.folder, self.env, FUNCTIONS, json.dumps(words))
        if done.returncode:
            raise IxyfwdError(f"instructions cannot be counted: {_last_line(done)}")
        found: list[list[str]] = json.loads(done.stdout)
        return found


def open_sides(
    names: tuple[str, str], stack: ExitStack, progress: Callable[[str], None], root: Path = ROOT
) -> tuple[Side, Side]:
    """Open both sides, ready to run while the stack is open; commits are those of the checkout at `root`.

    Raises UsageError for an unknown name, a tree that does not build, an environment
    without ixyfwd.
    """
    meant = [_meaning(name, root) for name in names]  # before anything is built
    sources = dict.fromkeys(one for one in meant if isinstance(one, Revision))
    builds = [built(Checkout(root), source, progress) for source in sources]
    with ThreadPoolExecutor(len(names)) as pool:
        folders = dict(zip(sources, pool.map(stack.enter_context, builds), strict=True))
    first, second = (
        _tree(name, one, folders[one]) if isinstance(one, Revision) else _environment(name, one)
        for name, one in zip(names, meant, strict=True)
    )
    return first, second


def _meaning(name: str, root: Path) -> Revision | Path:
    """The revision, or the interpreter, that a name means."""
    python = _interpreter(name)
    if python is not None:
        return python
    checkout = Checkout(root)
    return checkout.working_tree() if name == WORKING_TREE else checkout.commit(name)


def _tree(name: str, source: Revision, folder: Path) -> Side:
    env = {**os.environ, "PYTHONPATH": str(folder)}
    found = _ask(name, sys.executable, folder, env)
    if Path(found["file"]).parent.parent != folder.resolve():
        raise UsageError(f"{name}: expected ixyfwd to be imported from {folder}, found {found['file']}")
    facts = {"name": name, "commit": str(source), "tree": source.tree, "compiler": compiler(), **found["facts"]}
    return Side(f"{name} ({source})", sys.executable, folder, env, facts)


def _environment(name: str, python: Path) -> Side:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    folder = Path("/")  # from which no module can be imported by mistake
    found = _ask(name, str(python), folder, env)
    facts = {"name": name, "commit": None, "tree": None, "compiler": None, **found["facts"]}
    return Side(name, str(python), folder, env, facts)


def _interpreter(name: str) -> Path | None:
    """The interpreter at a path, or in a virtual environment there; None if the name is not a path.

    Raises UsageError for a path without an interpreter.
    """
    if name == WORKING_TREE or ("/" not in name and not Path(name, "bin", "python").exists()):
        return None
    path = Path(name).expanduser().absolute()
    if not path.exists() and not name.startswith(("/", "./", "../", "~")):
        return None  # a branch may have a slash in its name
    python = path / "bin" / "python" if path.is_dir() else path
    if not os.access(python, os.X_OK) or python.is_dir():
        raise UsageError(f"{name} is neither a Python interpreter nor a virtual environment: {python} cannot be run")
    return python


def _ask(name: str, python: str, folder: Path, env: Mapping[str, str]) -> Any:
    """The ixyfwd that an interpreter imports, with the versions that it uses."""
    try:
        done = _python(python, folder, env, WHO)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{name}: {python} does not run: {error}") from None
    if done.returncode:
        raise UsageError(f"{name}: {python} cannot import ixyfwd: {_last_line(done)}")
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise UsageError(f"{name}: {python} is not a Python interpreter with ixyfwd installed") from None


def _python(
    python: str, folder: Path, env: Mapping[str, str], code: str, *words: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603
        [python, "-c", code, *words],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=ASK_TIMEOUT_S,
    )


def _last_line(done: "subprocess.CompletedProcess[str]") -> str:
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def _end(process: "subprocess.Popen[str]") -> None:
    """End a run by SIGINT, and kill it if it does not end within GRACE_S."""
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
