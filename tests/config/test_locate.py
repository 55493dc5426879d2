"""Where keys stand in a file: the locator against documents whose lines are known, and against tomllib."""

import json
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixyfwd.config.locate import locate
from ixyfwd.settings.problems import KeyPath, key_text

DOCUMENT = '''\
# a comment with [brackets] and = signs
top = "a # b"
"quoted key" = 1
a.b.c = 1979-05-27 07:32:00

[table]
'literal.key' = [
  1,  # one
  "]", # ]
  { x = 1, y = { z = """
text [[port]]
""" }, w = 2 },
]
[table.sub]
text = \'\'\'
key = 1
\'\'\'
after = "\\"#"
[[port]]
name = "p0"
wire = { kind = "pcap", replay = "a.pcap" }
[port.extra]
deep.er = true

[[port]]
name = "p1"
[[port.inner]]
x = 1
[[port.inner]]
  [port.inner.more]
  x = 2
'''

LINES: list[tuple[KeyPath, int]] = [
    (("top",), 2),
    (("quoted key",), 3),
    (("a",), 4),
    (("a", "b"), 4),
    (("a", "b", "c"), 4),
    (("table",), 6),
    (("table", "literal.key"), 7),
    (("table", "literal.key", 0), 8),
    (("table", "literal.key", 1), 9),
    (("table", "literal.key", 2), 10),
    (("table", "literal.key", 2, "x"), 10),
    (("table", "literal.key", 2, "y", "z"), 10),
    (("table", "literal.key", 2, "w"), 12),
    (("table", "sub"), 14),
    (("table", "sub", "text"), 15),
    (("table", "sub", "after"), 18),
    (("port",), 19),
    (("port", 0), 19),
    (("port", 0, "name"), 20),
    (("port", 0, "wire"), 21),
    (("port", 0, "wire", "replay"), 21),
    (("port", 0, "extra"), 22),
    (("port", 0, "extra", "deep", "er"), 23),
    (("port", 1), 25),
    (("port", 1, "name"), 26),
    (("port", 1, "inner", 0), 27),
    (("port", 1, "inner", 0, "x"), 28),
    (("port", 1, "inner", 1), 29),
    (("port", 1, "inner", 1, "more", "x"), 31),
]


def paths(value: Any, path: KeyPath = ()) -> list[KeyPath]:
    """Every key path of a parsed document."""
    found = [path] if path else []
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        found += paths(inner, (*path, step))
    return found


@pytest.mark.parametrize(("path", "line"), LINES, ids=[key_text(path) for path, _ in LINES])
def test_every_kind_of_key_has_its_line(path: KeyPath, line: int) -> None:
    assert locate(DOCUMENT)[path] == line


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_exactly_the_paths_that_tomllib_finds(newline: str) -> None:
    text = DOCUMENT.replace("\n", newline)
    assert sorted(map(str, locate(text))) == sorted(map(str, paths(tomllib.loads(text))))


def test_key_text() -> None:
    assert key_text(("port", 0, "wire", "rate")) == "port[0].wire.rate"
    assert key_text(("a b", "x\n")) == '"a b"."x\\n"'


KEYS = st.text(alphabet="ab-_1", min_size=1, max_size=4) | st.text(max_size=6)
TEXTS = st.text(alphabet=st.sampled_from(list("ab#[]{}\"'=,\\\n\t .é")), max_size=12)
LEAVES = st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)


class Writer:
    """Writes a document and remembers on which line it put each key."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.text = ""
        self.lines: dict[KeyPath, int] = {}

    def note(self, path: KeyPath) -> None:
        self.lines[path] = self.text.count("\n") + 1

    def space(self, *, newlines: bool) -> None:
        choices = ["", " ", "\t"] + (["\n", " # [x] = {\n", "\n\n  "] if newlines else [])
        self.text += self.draw(st.sampled_from(choices))

    def key(self, path: KeyPath, key: str) -> None:
        self.note((*path, key))
        # JSON's escapes are TOML's, except for what lies beyond 16 bits and DEL.
        self.text += json.dumps(key, ensure_ascii=False).replace("\x7f", "\\u007f")

    def value(self, path: KeyPath, value: Any) -> None:
        if isinstance(value, dict):
            self.text += "{"
            for index, (key, inner) in enumerate(value.items()):
                self.text += ", " if index else ""
                self.key(path, key)
                self.text += " = "
                self.value((*path, key), inner)
            self.text += "}"
        elif isinstance(value, list):
            self.text += "["
            for index, inner in enumerate(value):
                self.space(newlines=True)
                self.note((*path, index))
                self.value((*path, index), inner)
                self.space(newlines=True)
                self.text += ","
            self.text += "]"
        elif isinstance(value, str):
            self.string(value)
        else:
            self.text += json.dumps(value)

    def string(self, value: str) -> None:
        if "'" not in value and self.draw(st.booleans()):
            quote = "'''" if "\n" in value else "'"
            self.text += quote + ("\n" if quote == "'''" else "") + value + quote
        else:
            self.text += json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


@given(st.data(), st.dictionaries(KEYS, VALUES, max_size=4))
def test_lines_of_any_document(data: st.DataObject, document: dict[str, Any]) -> None:
    writer = Writer(data.draw)
    for key, value in document.items():
        writer.space(newlines=True)
        writer.key((), key)
        writer.space(newlines=False)
        writer.text += "="
        writer.space(newlines=False)
        writer.value((key,), value)
        writer.text += "\n"
    assert tomllib.loads(writer.text) == document
    assert locate(writer.text) == writer.lines


@given(st.data(), st.lists(st.tuples(st.lists(KEYS, min_size=1, max_size=3), st.booleans(), KEYS), max_size=6))
def test_tables_of_any_document(data: st.DataObject, tables: list[tuple[list[str], bool, str]]) -> None:
    """Headers of tables and arrays of tables in any mixture that tomllib takes."""
    lines: list[str] = []
    for header, array, key in tables:
        name = " . ".join(json.dumps(part, ensure_ascii=False).replace("\x7f", "\\u007f") for part in header)
        more = [f"[[ {name} ]]" if array else f"[{name}]", f"{json.dumps(key)} = 1"]
        try:
            tomllib.loads("\n".join([*lines, *more]))
        except tomllib.TOMLDecodeError:
            continue
        lines += more
    text = "\n".join(lines)
    found = locate(text)
    assert sorted(map(str, found)) == sorted(map(str, paths(tomllib.loads(text))))
    for path, line in found.items():
        if isinstance(path[-1], str):
            assert json.dumps(path[-1]) in lines[line - 1] or path[-1] in lines[line - 1] or "\\" in lines[line - 1]
