"""Files of the kernel below a root, and what is said when one cannot be read. Tests make trees of their own."""

import os
from pathlib import Path

from ixyfwd.errors import IxyfwdError


class UnreadableError(IxyfwdError):
    """A file is missing, may not be read, or says something unexpected; the message names it and the reason."""


class Tree:
    """Files below `root`, by their paths on the machine.

    Readers raise UnreadableError and nothing else; nothing is written.
    """

    def __init__(self, root: str | Path = "/") -> None:
        self._root = Path(root)

    def at(self, path: str) -> Path:
        """Where `path` really is."""
        return self._root / path.lstrip("/")

    def exists(self, path: str) -> bool:
        """Whether there is such a file; False also where this process may not look."""
        try:
            return self.at(path).exists()
        except OSError:
            return False

    def text(self, path: str) -> str:
        """Content without blanks at its ends."""
        try:
            return self.at(path).read_text(errors="replace").strip()
        except OSError as error:
            raise UnreadableError(f"{path} cannot be read ({error.strerror or error})") from None

    def number(self, path: str, text: str | None = None) -> int:
        """An integer, decimal or with 0x; `text` if it has been read already."""
        text = self.text(path) if text is None else text
        try:
            return int(text, 0)
        except ValueError:
            raise UnreadableError(f"{path} says {text[:40]!r}, expected a number") from None

    def names(self, path: str) -> list[str]:
        """Entries of a directory in order; empty if there is no such directory."""
        try:
            return sorted(os.listdir(self.at(path)))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UnreadableError(f"{path} cannot be listed ({error.strerror or error})") from None

    def real(self, path: str) -> str:
        """The path without links, as far as it exists."""
        root = os.path.realpath(self._root)
        found = os.path.realpath(self.at(path))
        return f"/{os.path.relpath(found, root)}" if found != root else "/"
