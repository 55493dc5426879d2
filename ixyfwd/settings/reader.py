"""Reading a TOML table value by value.

A wrong value is noted as a problem and replaced by its default, so that one reading
finds every problem.
"""

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from ixyfwd.settings.problems import KeyPath, Problem, Source

T = TypeVar("T")
Choice = TypeVar("Choice", bound=str)

_LONGEST_SHOWN = 40


class Notes:
    """The problems found so far in one file."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.problems: list[Problem] = []

    def add(self, path: KeyPath, message: str) -> None:
        """Note a problem with the value at `path`."""
        self.problems.append(self.source.problem(path, message))


def shown(value: object) -> str:
    """A value as a message shows it: as TOML writes it, shortened, and always on one line."""
    match value:
        case bool():
            text = "true" if value else "false"
        case str():
            short = value if len(value) <= _LONGEST_SHOWN else value[: _LONGEST_SHOWN - 3] + "..."
            text = '"' + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in short) + '"'
        case int() if abs(value) >= 10**_LONGEST_SHOWN:
            text = f"a number of {value.bit_length()} bits"
        case list():
            text = _list_shown(value)
        case Mapping():
            text = "a table"
        case _:
            text = str(value)
    return text


def _list_shown(values: list[Any]) -> str:
    if not values:
        return "an empty list"
    text = "[" + ", ".join(shown(one) for one in values[:4]) + (", ...]" if len(values) > 4 else "]")
    return text if len(text) <= 2 * _LONGEST_SHOWN else f"a list of {len(values)}"


def one_of(choices: Iterable[str]) -> str:
    """The choices as a sentence lists them: `"a", "b" or "c"`."""
    *most, last = [f'"{choice}"' for choice in choices]
    return f"{', '.join(most)} or {last}" if most else last


def hint(found: str, known: Iterable[str]) -> str:
    """The clause `; did you mean "x"?`; empty if no known word is close."""
    close = difflib.get_close_matches(found, list(known), n=1)
    return f'; did you mean "{close[0]}"?' if close else ""


class Table:
    """One table of the document. Every getter takes the default that stands in for an absent or a wrong value."""

    def __init__(self, notes: Notes, path: KeyPath, data: Mapping[str, Any]) -> None:
        self.notes = notes
        self.path = path
        self.data = data
        self._known: list[str] = []

    def has(self, key: str) -> bool:
        """Whether the file gives the key."""
        return key in self.data

    def wrong(self, key: str, expected: str, extra: str = "") -> None:
        """Note that the value of `key` differs from what was expected."""
        self.notes.add((*self.path, key), f"found {shown(self.data[key])}, expected {expected}{extra}")

    def get(self, key: str, default: T, expected: str, accept: Callable[[Any], bool]) -> T:
        """The value of `key` if `accept` takes it."""
        self._known.append(key)
        if key not in self.data:
            return default
        value: T = self.data[key]
        if accept(value):
            return value
        self.wrong(key, expected)
        return default

    def need(self, key: str, expected: str) -> None:
        """Note that a key which has no default is missing."""
        if key not in self.data:
            self.notes.add((*self.path, key), f"found no such key, expected {expected}")

    def text(self, key: str, default: str, expected: str, pattern: re.Pattern[str]) -> str:
        """The value of `key`, a string that `pattern` matches as a whole."""
        return self.get(key, default, expected, lambda v: isinstance(v, str) and bool(pattern.fullmatch(v)))

    def flag(self, key: str, default: bool) -> bool:
        """The value of `key`, true or false."""
        return self.get(key, default, "true or false", lambda v: isinstance(v, bool))

    def integer(self, key: str, default: T, low: int, high: int) -> int | T:
        """The value of `key`, a whole number from `low` to `high`."""
        expected = f"a whole number from {low} to {high}"
        return self.get(key, default, expected, lambda v: is_integer(v) and low <= v <= high)

    def number(self, key: str, default: float, low: float, high: float, unit: str) -> float:
        """The value of `key`, a number from `low` to `high`; `unit` is for the message."""
        expected = f"a number from {low:g} to {high:g} ({unit})"
        return float(self.get(key, default, expected, lambda v: is_number(v) and low <= v <= high))

    def choice(self, key: str, default: Choice, choices: Sequence[Choice]) -> Choice:
        """The value of `key`, one of a few words."""
        self._known.append(key)
        value = self.data.get(key, default)
        if value in choices:
            return choices[choices.index(value)]
        self.wrong(key, one_of(choices), hint(value, choices) if isinstance(value, str) else "")
        return default

    def items(self, key: str, expected: str) -> list[Any]:
        """The value of `key`, a list; the caller checks its elements."""
        return self.get(key, [], expected, lambda v: isinstance(v, list))

    def table(self, key: str) -> "Table":
        """The table `key` inside this one; empty when absent."""
        return Table(self.notes, (*self.path, key), self.get(key, {}, "a table", lambda v: isinstance(v, dict)))

    def tables(self, key: str) -> list["Table"]:
        """The array of tables `[[key]]`; an element that is not a table is noted and left out."""
        expected = f"tables headed [[{key}]]"
        found: list[Table] = []
        for index, data in enumerate(self.items(key, expected)):
            path = (*self.path, key, index)
            if isinstance(data, dict):
                found.append(Table(self.notes, path, data))
            else:
                self.notes.add(path, f"found {shown(data)}, expected {expected}")
        return found

    def finish(self) -> None:
        """Note every key that no getter has asked for."""
        for key in self.data:
            if key not in self._known:
                expected = one_of(self._known) if self._known else "none: this table is empty"
                self.notes.add((*self.path, key), f"found an unknown key, expected {expected}{hint(key, self._known)}")


def is_integer(value: object) -> bool:
    """Whether a value is a whole number; true and false, which Python counts as numbers, are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether a value is a finite number."""
    return is_integer(value) or (isinstance(value, float) and math.isfinite(value))
