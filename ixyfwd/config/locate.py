"""The line of every key and array element in a TOML document that `tomllib` has accepted.

tomllib tells where a document is broken, but not where a value stands. This scanner only follows the structure; what
is valid has been decided before.
"""

import bisect
import tomllib
from collections.abc import Mapping
from typing import Final

from ixyfwd.settings.problems import KeyPath

_BLANK: Final = " \t"
_BARE_VALUE_ENDS: Final = ",]}#\n"


def locate(text: str) -> Mapping[KeyPath, int]:
    """Line (from 1) by key path, for a valid document. Tables are where their header or first key is."""
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.document()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._newlines = [at for at, char in enumerate(text) if char == "\n"]
        self._tables_in: dict[KeyPath, int] = {}  # elements so far of each array of tables
        self.lines: dict[KeyPath, int] = {}

    def document(self) -> None:
        """Walk the whole text."""
        table: KeyPath = ()
        while self._skip_to_content():
            if self._text.startswith("[[", self._at):
                table = self._header(2)
            elif self._peek() == "[":
                table = self._header(1)
            else:
                self._pair(table)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _note(self, path: KeyPath) -> None:
        self.lines.setdefault(path, bisect.bisect_left(self._newlines, self._at) + 1)

    def _skip(self, chars: str) -> None:
        while self._at < len(self._text) and self._text[self._at] in chars:
            self._at += 1

    def _skip_to_content(self) -> bool:
        """Past blanks, newlines and comments; False at the end of the text."""
        while True:
            self._skip(_BLANK + "\n")
            if self._peek() != "#":
                return self._at < len(self._text)
            end = self._text.find("\n", self._at)
            self._at = len(self._text) if end < 0 else end

    def _header(self, brackets: int) -> KeyPath:
        """`[a.b]` or `[[a.b]]`; a step through an array of tables means its latest element."""
        self._at += brackets
        *parents, last = self._key()
        path: KeyPath = ()
        for part in parents:
            path = self._latest((*path, part))
        path = (*path, last)
        self._note(path)
        if brackets == 2:
            self._tables_in[path] = self._tables_in.get(path, 0) + 1
        path = self._latest(path)
        self._note(path)
        self._at += brackets
        return path

    def _latest(self, path: KeyPath) -> KeyPath:
        self._note(path)
        return (*path, self._tables_in[path] - 1) if path in self._tables_in else path

    def _pair(self, table: KeyPath) -> None:
        """`a.b = value`."""
        path = table
        start = self._at
        for part in self._key():
            path = (*path, part)
            after, self._at = self._at, start
            self._note(path)
            self._at = after
        self._at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _key(self) -> list[str]:
        """A dotted key, up to the character that ends it."""
        parts: list[str] = []
        while True:
            self._skip(_BLANK)
            start = self._at
            if self._peek() in ('"', "'"):
                self._string()
                parts.append(tomllib.loads(f"key = {self._text[start : self._at]}")["key"])
            else:
                while self._peek() not in "=.] \t":
                    self._at += 1
                parts.append(self._text[start : self._at])
            self._skip(_BLANK)
            if self._peek() != ".":
                return parts
            self._at += 1

    def _value(self, path: KeyPath) -> None:
        char = self._peek()
        if char in ('"', "'"):
            self._string()
        elif char == "[":
            self._array(path)
        elif char == "{":
            self._inline_table(path)
        else:
            while self._at < len(self._text) and self._text[self._at] not in _BARE_VALUE_ENDS:
                self._at += 1

    def _string(self) -> None:
        quote = self._peek()
        if self._text.startswith(quote * 3, self._at):
            self._at += 3
            while self._at < len(self._text) and not self._text.startswith(quote * 3, self._at):
                self._character(quote)
            self._at += 3
            self._skip(quote)  # up to two quotes may stand before the closing three
        else:
            self._at += 1
            while self._at < len(self._text) and self._peek() != quote:
                self._character(quote)
            self._at += 1

    def _character(self, quote: str) -> None:
        escaped = quote == '"' and self._peek() == "\\"
        self._at += 2 if escaped else 1

    def _array(self, path: KeyPath) -> None:
        self._at += 1
        index = 0
        while self._skip_to_content() and self._peek() != "]":
            self._note((*path, index))
            self._value((*path, index))
            index += 1
            self._skip_to_content()
            if self._peek() == ",":
                self._at += 1
        self._at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._at += 1
        while self._skip_to_content() and self._peek() != "}":
            self._pair(path)
            self._skip_to_content()
            if self._peek() == ",":
                self._at += 1
        self._at += 1
