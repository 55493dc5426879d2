"""The reference page of all numbers, `docs/metrics.md`. It is made from the rows; `scripts/describe.py` writes it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, Final, get_args, get_origin

from ixyfwd.telemetry.counters import MetricRow, PortWord, ProgramWord, Word
from ixyfwd.telemetry.event import Event
from ixyfwd.telemetry.model_report import ModelReport
from ixyfwd.telemetry.plain import About, Item, items
from ixyfwd.telemetry.snapshot import CaptureReport, GenerateReport, Report, Snapshot

Named = Mapping[str, Sequence[tuple[str, str, str]]]
"""By program: JSON key ("drops" or "counters"), name and meaning of what it counts by names of its own."""

_DOCUMENTS: Final = (
    (Snapshot, "A run at one moment", "`ixyfwd status --json`"),
    (Report, "A run that is over", "the last line of `ixyfwd start --json`, and `ixyfwd stop --json`"),
    (GenerateReport, "Generated traffic", "the last line of `ixyfwd generate --json`"),
    (CaptureReport, "Captured traffic", "the last line of `ixyfwd capture --json`"),
    (ModelReport, "The model by itself", "the last line of `ixyfwd model --json`"),
    (Event, "A change of state", "a line of `ixyfwd events --json`"),
)
_HEAD: Final = """# Metrics

Every number that ixyfwd reports. This page is made from the rows in `ixyfwd/telemetry` by `scripts/describe.py`, as is
the JSON schema that `ixyfwd status --schema` prints. Where a name stands in the JSON is above its table; `[]` is each
element of a list, `NAME` each key of an object. The key `schema` says what an object is and in which version: within a
version keys are only added.
"""
_PAGE: Final = """## The counters page

Each worker counts in a page of 64-bit words that only it writes. `words.h` has the same names for C. A private word is
how processes talk to each other and stands in no report.
"""


def reference(named: Named) -> str:
    """The text of the page. `named`: what programs count by names of their own."""
    lines = [_HEAD]
    for document, title, where in _DOCUMENTS:
        lines += [f"## {title}", "", f"{_first_sentence(document)}: {where}.", ""]
        lines += _tables(document, "")
    lines += ["## What programs count", "", "Names below `programs[].drops` and `programs[].counters`.", ""]
    rows = [(program, f"{key}.{name}", text) for program, found in named.items() for key, name, text in found]
    lines += [*_table(("program", "name", "meaning"), rows), _PAGE]
    words = [
        (prefix, row) for prefix, rows in (("", Word), ("port", PortWord), ("program", ProgramWord)) for row in rows
    ]
    lines += _table(("block", "word", "name", "of each", "kind", "unit", "meaning"), [_word(*one) for one in words])
    return "\n".join(lines).rstrip("\n") + "\n"


def _first_sentence(kind: type) -> str:
    return " ".join((kind.__doc__ or "").split()).partition(": ")[0].rstrip(".")


def _tables(kind: type, where: str) -> Iterator[str]:
    """The tables of an object's keys and of those below it. A report's does not repeat those of a snapshot."""
    known = {item.name for item in items(Snapshot)} if kind is Report else set()
    found = [item for item in items(kind) if item.name not in known]
    if where:
        yield from (f"### `{where.removesuffix('.')}`", "", " ".join((kind.__doc__ or "").split()), "")
    yield from _table(("name", "unit", "meaning"), [row for item in found for row in _rows(item)])
    for item in found:
        below = _object_of(item.type)
        if below is not None:
            yield from _tables(below[0], f"{where}{item.name}{below[1]}.")


def _rows(item: Item) -> Iterator[tuple[str, str, str]]:
    about = item.about
    if isinstance(about, About):
        yield f"`{item.name}`", about.unit, about.text
        yield from ((f"`{item.name}.{name}`", about.unit, text) for name, text in about.names)
        return
    prefix = f"{item.name}." if about.nested else ""
    yield from ((f"`{prefix}{row.key}`", row.unit, row.text) for row in about.rows)


def _object_of(hint: Any) -> tuple[type, str] | None:
    """The class of an object, or of those in a list or a mapping, and how the path to it goes on."""
    if is_dataclass(hint) and isinstance(hint, type):
        return hint, ""
    arguments = get_args(hint)
    if arguments and is_dataclass(arguments[-1]) and isinstance(arguments[-1], type):
        return arguments[-1], "[]" if get_origin(hint) is Sequence else ".NAME"
    return None


def _word(block: str, row: MetricRow) -> tuple[str, ...]:
    return block, str(row.value), f"`{row.name}`", row.scope.value, row.kind.value, row.unit, row.text


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield from (f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))
    yield ""
