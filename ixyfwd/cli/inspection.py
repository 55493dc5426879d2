"""`ixyfwd doctor --port` and `ixyfwd registers`."""

import sys
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from ixyfwd.cli.output import Lines
from ixyfwd.errors import UsageError
from ixyfwd.host.inspection import facts_of, registers_in, registers_of
from ixyfwd.kit.outlet import check_open
from ixyfwd.nic.report import Fact, RegisterValue, Selection

SCHEMA: Final = 1


def report_command(address: str, json: bool) -> int:
    """Print what a device says of itself; returns 0. Raises UsageError, RefusedError and DeviceError."""
    check_open(sys.stdout)
    facts = facts_of(address)
    out = Lines(sys.stdout)
    if json:
        out.write_json({"schema": SCHEMA, "port": address, "facts": [_fact_json(fact) for fact in facts]})
        return 0
    out.write(f"doctor: the device at {address}")
    out.write(*_fact_lines(facts))
    concerns = sum(bool(fact.concern) for fact in facts)
    out.write(f"{len(facts)} facts, {concerns or 'none'} to look at")
    return 0


def registers_command(words: Sequence[str], file: Path | None, json: bool) -> None:
    """Print the registers of a device or of a dump. Raises UsageError, RefusedError and DeviceError."""
    check_open(sys.stdout)
    most = 1 if file is not None else 2
    if len(words) > most or (file is None and not words):
        expected = "a name at most beside --file" if file is not None else "ADDRESS and, if one is wanted, NAME"
        raise UsageError(f"registers: found {' '.join(words) or 'nothing'}, expected {expected}")
    names = words if file is not None else words[1:]
    selection = Selection.parse(names[0]) if names else Selection()
    source = str(file) if file is not None else words[0]
    found = registers_in(file, selection) if file is not None else registers_of(words[0], selection)
    out = Lines(sys.stdout)
    if json:
        out.write_json({"schema": SCHEMA, "source": source, "registers": [_register_json(one) for one in found]})
        return
    out.write(f"registers of {source}")
    out.write(*(_register_lines(found) if selection.table else _shortened(found)))


def _fact_json(fact: Fact) -> dict[str, Any]:
    return {
        "topic": fact.topic,
        "name": fact.name,
        "found": fact.found,
        "value": fact.value,
        "concern": fact.concern or None,
    }


def _fact_lines(facts: Sequence[Fact]) -> Iterator[str]:
    """A line per fact, by topic in the order of their first facts; under it what is wrong."""
    topics = list(dict.fromkeys(fact.topic for fact in facts))
    width = max(len(fact.name) for fact in facts)
    for topic in topics:
        yield topic
        for fact in facts:
            if fact.topic == topic:
                yield f"  {fact.name.ljust(width)}  {fact.found}"
                if fact.concern and fact.concern != fact.found:
                    yield f"  {' ' * width}  look: {fact.concern}"


def _register_json(one: RegisterValue) -> dict[str, Any]:
    return {
        "table": one.table,
        "name": one.name,
        "offset": one.offset,
        "word": one.word,
        "fields": dict(one.fields),
        "section": one.section or None,
        "note": one.note or None,
    }


def _register_lines(found: Sequence[RegisterValue]) -> Iterator[str]:
    for one in found:
        word = "-         " if one.word is None else f"{one.word:#010x}"
        fields = " ".join(f"{name}={value}" for name, value in one.fields)
        note = f"({one.note})" if one.note else ""
        yield f"{one.name:<14} {one.offset:#07x} {word}  {' '.join(filter(None, (fields, note)))}".rstrip()


def _shortened(found: Sequence[RegisterValue]) -> Iterator[str]:
    """Every register, neighbours of one table with the same word in one line."""
    for (table, _), group in groupby(found, lambda one: (one.table, one.word)):
        entries = list(group)
        first, last = entries[0], entries[-1]
        (line,) = _register_lines([first])
        if len(entries) == 1:
            yield line
        else:
            number = f"{table}[{_index(first)} to {_index(last)}]"
            yield f"{number:<14} {line.partition(' ')[2].lstrip()}"


def _index(one: RegisterValue) -> str:
    return one.name.partition("[")[2].rstrip("]")
