"""The git checkout that this code runs from: its commits, and copies of their files.

The checkout is only read: neither its index, its objects, its list of worktrees nor its
files change.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ixyfwd.errors import UsageError

ROOT: Final = Path(__file__).resolve().parents[2]
TIMEOUT_S: Final = 120.0
# A hook runs with these set, for a repository of its own.
HOOKED: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX")


@dataclass(frozen=True)
class Revision:
    """A state of the files. `tree`: git's name for it. `commit`: its commit, from which it differs if `changed`."""

    commit: str
    tree: str
    changed: bool

    def __str__(self) -> str:
        return self.commit[:12] + ("+" if self.changed else "")


class Checkout:
    """The checkout at a directory. Every method raises UsageError with git's own message if git fails."""

    def __init__(self, root: Path = ROOT) -> None:
        """Find git and the checkout. Raises UsageError if there is no git, or no checkout that it reads."""
        git = shutil.which("git")
        if git is None:
            raise UsageError("commits cannot be compared: there is no git on this machine; name two environments")
        if not (root / ".git").exists():
            raise UsageError(f"{root} is not a git checkout, so it has no commits to compare; name two environments")
        self.root = root
        self._git = git
        self._run("rev-parse", "--git-dir")  # git may refuse a directory for reasons of its own

    def commit(self, name: str) -> Revision:
        """The revision that a commit-ish names. Raises UsageError if it names none."""
        try:
            found = self._run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
        except UsageError:
            hint = "; this clone is shallow, `git fetch --unshallow` brings the rest" if self.is_shallow() else ""
            raise UsageError(
                f"{name!r} is not a commit of {self.root}{hint}; an environment is named by its path, such as ./.venv"
            ) from None
        return Revision(found, self._run("rev-parse", f"{found}^{{tree}}"), changed=False)

    def is_shallow(self) -> bool:
        """Whether older commits are missing."""
        return self._run("rev-parse", "--is-shallow-repository") == "true"

    def working_tree(self) -> Revision:
        """The revision of the files as they are, with new files and without ignored ones."""
        head = self.commit("HEAD")
        with self._scratch() as env:
            self._run("add", "--all", env=env)
            tree = self._run("write-tree", env=env)
        return Revision(head.commit, tree, changed=tree != head.tree)

    def write(self, source: Revision, folder: Path) -> None:
        """Write the files of a revision into an empty directory. Raises UsageError if they change meanwhile."""
        with self._scratch() as env:
            if source.changed:
                self._run("add", "--all", env=env)
                if self._run("write-tree", env=env) != source.tree:
                    raise UsageError(f"{self.root}: files changed while they were read; compare again")
            else:
                self._run("read-tree", source.tree, env=env)
            self._run("checkout-index", "--all", f"--prefix={folder}/", env=env)

    @contextmanager
    def _scratch(self) -> Iterator[Mapping[str, str]]:
        """An environment in which git writes to an index and to objects that are gone afterwards."""
        index, objects = (self.root / self._run("rev-parse", "--git-path", name) for name in ("index", "objects"))
        with tempfile.TemporaryDirectory(prefix="ixyfwd-index-") as name:
            folder = Path(name)
            if index.exists():
                shutil.copy2(index, folder / "index")  # knows which files are unchanged
            (folder / "objects").mkdir()
            yield {
                "GIT_INDEX_FILE": str(folder / "index"),
                "GIT_OBJECT_DIRECTORY": str(folder / "objects"),
                "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(objects),
            }

    def _run(self, *words: str, env: Mapping[str, str] | None = None) -> str:
        base = {key: value for key, value in os.environ.items() if key not in HOOKED}
        try:
            done = subprocess.run(  # noqa: S603
                [self._git, "-C", str(self.root), *words],
                capture_output=True,
                text=True,
                check=False,
                timeout=TIMEOUT_S,
                env={**base, **(env or {})},
            )
        except subprocess.TimeoutExpired:
            raise UsageError(f"git {words[0]} in {self.root} did not end within {TIMEOUT_S:g} s") from None
        if done.returncode:
            said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise UsageError(f"git {words[0]} in {self.root} failed: {said[-1]}")
        return done.stdout.strip()
