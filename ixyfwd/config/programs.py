"""The programs of a run: the key `program` of [forward], and a table [program.NAME] for the settings of each."""

from typing import Any

from ixyfwd.programs.contract import ProgramOptions
from ixyfwd.programs.registry import DEFAULT_PROGRAM, programs
from ixyfwd.settings.reader import Table, hint, one_of, shown
from ixyfwd.telemetry.counters import MAX_PROGRAMS


def read_programs(forward: Table, settings: Table) -> tuple[ProgramOptions, ...]:
    """The programs that [forward] names, with their settings. `settings`: the table that holds [program.NAME].

    Settings of programs that are not run are read too, so that a mistake in them is not found later.
    """
    known = programs()
    options: dict[str, ProgramOptions] = {}
    for name, kind in known.items():
        table = settings.table(name)
        options[name] = kind.read(table)
        table.finish()
    settings.finish()
    return tuple(options[name] for name in _names(forward, tuple(known)))


def _names(table: Table, known: tuple[str, ...]) -> list[str]:
    expected = f"{one_of(known)}, or a list of them"
    value: Any = table.get("program", DEFAULT_PROGRAM, expected, lambda v: isinstance(v, str | list))
    names = [value] if isinstance(value, str) else value
    found: list[str] = []
    for index, name in enumerate(names):
        path = (*table.path, "program") if isinstance(value, str) else (*table.path, "program", index)
        if name not in known:
            similar = hint(name, known) if isinstance(name, str) else ""
            table.notes.add(path, f"found {shown(name)}, expected {one_of(known)}{similar}")
        elif name in found:
            table.notes.add(path, f"found {shown(name)} again, expected each program once")
        else:
            found.append(name)
    if not 1 <= len(names) <= MAX_PROGRAMS:
        table.wrong("program", f"1 to {MAX_PROGRAMS} programs")
    return found or [DEFAULT_PROGRAM]
