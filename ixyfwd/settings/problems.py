"""Problems of a configuration: one sentence each, with its place in the file."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ixyfwd.errors import UsageError

KeyPath = tuple[str | int, ...]
"""The place of a value in the document: `("port", 0, "wire", "rate")`."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def key_text(path: KeyPath) -> str:
    """A path as people write it: `port[0].wire.rate`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f"{'.' if text else ''}{step if _BARE_KEY.fullmatch(step) else json.dumps(step)}"
    return text


@dataclass(frozen=True)
class Problem:
    """One problem. `line` counts from 1 (0: the file as a whole); `key` may be empty (the file could not be parsed)."""

    path: str
    line: int
    key: str
    message: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else self.path
        return ": ".join(part for part in (place, self.key, self.message) if part)

    def as_json(self) -> dict[str, Any]:
        """Plain data for `config check --json`."""
        return {"path": self.path, "line": self.line, "key": self.key, "message": self.message}


class ConfigErrors(UsageError):
    """A configuration with problems; the message has one line for each of `problems`."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(set(problems), key=lambda p: (p.path, p.line, p.key, p.message)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


@dataclass(frozen=True)
class Source:
    """The file that a configuration came from and the line of every key in it; empty for a default configuration."""

    path: str = "(default configuration)"
    lines: Mapping[KeyPath, int] = field(default_factory=dict, repr=False)

    def line(self, path: KeyPath) -> int:
        """Line of a key, or of the nearest table around it if the key itself is not in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1 if self.lines else 0)

    def place(self, path: KeyPath) -> str:
        """The place of a value, as another value's message names it."""
        return f"line {self.line(path)}"

    def problem(self, path: KeyPath, message: str) -> Problem:
        """A problem with the value at `path`."""
        return Problem(self.path, self.line(path), key_text(path), message)
