"""Whether the parts of a configuration fit together. Each check stands alone and notes all that it finds."""

import os
from collections.abc import Collection, Iterable

from ixyfwd.config.cpus import format_cpu_list
from ixyfwd.config.schema import MAX_MAX_FRAME_BYTES, Config
from ixyfwd.settings.problems import KeyPath
from ixyfwd.settings.reader import Notes, one_of, shown


def check_consistency(config: Config, notes: Notes) -> None:
    """Note everything that is wrong between keys. A value that was wrong by itself is not blamed again."""
    check_ports(config, notes)
    _check_links(config, notes)
    _check_frame_sizes(config, notes)
    _check_cpus(config, notes)


def check_ports(config: Config, notes: Notes) -> None:
    """Names, devices, interfaces and files used twice, and cables that lead nowhere."""
    _check_unique(config, notes)
    _check_wires(config, notes)


def _note_repeated(notes: Notes, what: str, places: Iterable[tuple[KeyPath, str | None]]) -> None:
    first: dict[str, KeyPath] = {}
    for path, value in places:
        if value in first:
            place = notes.source.place(first[value])
            notes.add(path, f"found {shown(_file_name(value))} again ({place} has it), expected {what} of its own")
        elif value:
            first[value] = path


def _file_name(text: str) -> str:
    """The last part of an absolute path, which would be cut before the interesting part; anything else unchanged."""
    return os.path.basename(text) if text.startswith("/") else text


def _check_unique(config: Config, notes: Notes) -> None:
    ports = list(enumerate(config.ports))
    _note_repeated(notes, "a name", ((("port", i, "name"), port.name) for i, port in ports))
    _note_repeated(notes, "a device", ((("port", i, "device"), port.device) for i, port in ports))
    _note_repeated(notes, "an address", ((("port", i, "mac"), port.mac) for i, port in ports))
    owned: dict[str, list[tuple[KeyPath, str]]] = {}
    for i, port in ports:
        for key, what, value in port.wire.own() if port.wire is not None else ():
            owned.setdefault(what, []).append((("port", i, "wire", key), value))
    for what, places in owned.items():
        _note_repeated(notes, what, places)


def _check_wires(config: Config, notes: Notes) -> None:
    wires = {port.name: port.wire for port in config.ports if port.name}
    for i, port in enumerate(config.ports):
        for key, message in port.wire.problems(port.name, wires) if port.wire is not None else ():
            notes.add(("port", i, "wire", key), message)


def _check_links(config: Config, notes: Notes) -> None:
    """Every port in exactly one link, and every link between two ports."""
    known = list(dict.fromkeys(port.name for port in config.ports if port.name))
    first: dict[str, int] = {}
    for i, names in enumerate(config.links):
        for j, name in enumerate(names):
            path: KeyPath = ("link", i, "ports", j)
            if not name:
                continue  # blamed already
            if name not in known:
                extra = f" ({one_of(known)})" if known else ""
                notes.add(path, f"found {shown(name)}, expected the name of a port{extra}")
            elif name in names[:j]:
                notes.add(path, f"found {shown(name)} twice, expected two different ports")
            elif name in first:
                line = notes.source.line(("link", first[name], "ports"))
                extra = f"each port in one link only (line {line} has it)"
                notes.add(path, f"found {shown(name)} again, expected {extra}")
            else:
                first[name] = i
    _check_all_linked(config, first, notes)


def _check_all_linked(config: Config, linked: Collection[str], notes: Notes) -> None:
    blamed: set[str] = {""}
    for i, port in enumerate(config.ports):
        if port.name not in linked and port.name not in blamed:
            blamed.add(port.name)
            notes.add(("port", i, "name"), f"found {shown(port.name)} in no link, expected every port in one [[link]]")


def _check_frame_sizes(config: Config, notes: Notes) -> None:
    """A wire's frames above max_frame would only be counted by the port, and dropped."""
    limit = config.forward.max_frame
    if any(problem.key == "forward.max_frame" for problem in notes.problems):
        return
    for i, port in enumerate(config.ports):
        longest = port.wire.longest_frame if port.wire is not None else None
        if longest is not None and longest[1] > limit:
            extra = f"at most [forward] max_frame, which is {limit} (it may be up to {MAX_MAX_FRAME_BYTES})"
            notes.add(("port", i, "wire", longest[0]), f"found {longest[1]}, expected {extra}")


def _check_cpus(config: Config, notes: Notes) -> None:
    cpu = config.cpu
    if cpu.share:
        return
    workers = cpu.workers if isinstance(cpu.workers, tuple) else ()
    extra = "a CPU of its own (or share = true)"
    repeated = [one for one in dict.fromkeys(workers) if workers.count(one) > 1]
    if repeated:
        text = format_cpu_list(repeated)
        notes.add(("cpu", "workers"), f"found CPU {text} more than once, expected each CPU once (or share = true)")
    for key, value in (("main", cpu.main), ("model", cpu.model)):
        if value is not None and value in workers:
            line = notes.source.line(("cpu", "workers"))
            notes.add(("cpu", key), f"found CPU {value}, which workers (line {line}) has too, expected {extra}")
    if cpu.main is not None and cpu.main == cpu.model:
        line = notes.source.line(("cpu", "main"))
        notes.add(("cpu", "model"), f"found CPU {cpu.model}, which main (line {line}) has too, expected {extra}")
