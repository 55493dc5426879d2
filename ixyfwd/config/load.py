"""From a TOML file to a `Config`, or to every problem in it at once."""

import codecs
import os
import re
import tomllib
from pathlib import Path
from typing import Any, Final, NoReturn

from ixyfwd.config.consistency import check_consistency
from ixyfwd.config.cpus import parse_cpu_list
from ixyfwd.config.default import DEFAULT_LINKS, DEFAULT_PORTS
from ixyfwd.config.locate import locate
from ixyfwd.config.ports import read_links, read_ports
from ixyfwd.config.programs import read_programs
from ixyfwd.config.schema import (
    ENGINES,
    IDLES,
    LOOPS,
    MAX_INTERRUPT_INTERVAL_US,
    MAX_MAX_FRAME_BYTES,
    MAX_WORKERS,
    MIN_MAX_FRAME_BYTES,
    NAME,
    NAME_EXPECTED,
    RING_SIZES,
    RSS_FIELDS,
    Config,
    CpuConfig,
    ForwardConfig,
    MemoryConfig,
    PortConfig,
    RecoveryConfig,
    RssConfig,
    RssField,
    StartConfig,
)
from ixyfwd.memory.layout import frame_buffers, minimum_buffers
from ixyfwd.settings.problems import ConfigErrors, Problem, Source
from ixyfwd.settings.reader import Notes, Table, is_integer, one_of, shown

MAX_FILE_BYTES: Final = 1024 * 1024
MAX_BUFFERS: Final = 262_144  # 528 MiB a worker

_RSS_KEY = re.compile(r"symmetric|microsoft|[0-9a-fA-F]{80}")
_BACKING = re.compile(r"auto|hugepages|plain|hugetlbfs:/[^\0\n]{0,200}")
_TOML_LINE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def load_config(path: str | os.PathLike[str]) -> Config:
    """The configuration in a file. Raises ConfigErrors with every problem that can be seen without the machine."""
    name = os.fspath(path)
    text = _read_text(name)
    data, source = _parse(name, text)
    notes = Notes(source)
    config = _read(Table(notes, (), data), source, Path(name).parent)
    if config is not None:
        check_consistency(config, notes)
    if notes.problems or config is None:
        raise ConfigErrors(notes.problems)
    return config


def _fail(path: str, line: int, message: str) -> NoReturn:
    raise ConfigErrors([Problem(path, line, "", message)])


def _read_text(path: str) -> str:
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        _fail(path, 0, "found no such file, expected a configuration file (without -c two simulated ports are used)")
    except IsADirectoryError:
        _fail(path, 0, "found a directory, expected a configuration file")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        _fail(path, 0, f"found a file that cannot be read ({reason}), expected a readable configuration file")
    if len(raw) > MAX_FILE_BYTES:
        _fail(path, 0, f"found more than {MAX_FILE_BYTES} bytes, expected a configuration file")
    return _decoded(path, raw.removeprefix(codecs.BOM_UTF8))


def _decoded(path: str, raw: bytes) -> str:
    """As text. What other systems' editors make of text is named."""
    nul, cr = raw.find(b"\0"), re.search(rb"\r(?!\n)", raw)
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or 0 <= nul < 2:
        _fail(path, 0, "found UTF-16, expected a file in UTF-8 (save it as UTF-8)")
    if nul >= 0:
        _fail(path, raw.count(b"\n", 0, nul) + 1, "found a zero byte, expected text in UTF-8")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        _fail(path, line, f"found byte 0x{raw[error.start]:02x}, which is not UTF-8, expected a file in UTF-8")
    if cr is not None:
        line = raw.count(b"\n", 0, cr.start()) + 1
        _fail(path, line, "found a carriage return alone, expected lines that end with LF or CR LF")
    return text


def _parse(path: str, text: str) -> tuple[dict[str, Any], Source]:
    try:
        return tomllib.loads(text), Source(path, locate(text))
    except RecursionError:
        _fail(path, 0, "found lists or tables nested too deeply, expected a configuration file")
    except ValueError as error:  # TOMLDecodeError, and Python's own limit on the digits of a number
        message = str(error)
        place = _TOML_LINE.search(message)
        if place is None:
            _fail(path, 0, f"found broken TOML: {message}")
        line = int(place[1]) if place[1] else max(1, len(text.splitlines()))
        where = f" in column {place[2]}" if place[2] else " at the end of the file"
        message = message[: place.start()]
        _fail(path, line, f"found broken TOML{where}: {message[0].lower()}{message[1:]}")


def _read(root: Table, source: Source, folder: Path) -> Config | None:
    """Every section; None if the ports are so wrong that nothing can be said about how they fit together."""
    instance = root.table("instance")
    name = instance.text("name", "default", NAME_EXPECTED, NAME)
    instance.finish()
    cpu = _read_cpu(root.table("cpu"))
    ports, links = _read_topology(root, folder)
    forward = _read_forward(root.table("forward"), root.table("program"), len(ports or ()))
    rss = _read_rss(root.table("rss"))
    memory = root.table("memory")
    expected = '"auto", "hugepages", "plain" or "hugetlbfs:/MOUNT"'
    backing = memory.text("backing", "auto", expected, _BACKING)
    memory.finish()
    start = root.table("start")
    timeout_s = start.number("link_timeout_s", 10.0, 0.1, 300, "seconds")
    start.finish()
    recovery = _read_recovery(root.table("recovery"))
    root.finish()
    if ports is None or links is None:
        return None
    timing = StartConfig(timeout_s)
    return Config(ports, links, name, cpu, forward, rss, MemoryConfig(backing), timing, recovery, source)


def _read_recovery(table: Table) -> RecoveryConfig:
    restarts = table.integer("restarts", 5, 0, 1000)
    window_s = table.number("window_s", 60.0, 1, 86_400, "seconds")
    held_s = table.number("held_s", 10.0, 0, 3600, "seconds")
    table.finish()
    return RecoveryConfig(restarts, window_s, held_s)


def _read_topology(
    root: Table, folder: Path
) -> tuple[tuple[PortConfig, ...] | None, tuple[tuple[str, str], ...] | None]:
    """Ports and links; a file that names neither gets the two simulated ports of a start without a file."""
    if not root.has("port") and not root.has("link"):
        root.tables("port")
        root.tables("link")
        return DEFAULT_PORTS, DEFAULT_LINKS
    return read_ports(root, folder), read_links(root)


def _read_cpu(table: Table) -> CpuConfig:
    main = table.integer("main", None, 0, 8191)
    model = table.integer("model", None, 0, 8191)
    workers = _read_workers(table)
    share = table.flag("share", False)
    nice = table.integer("nice", 0, -20, 19)
    table.finish()
    return CpuConfig(main, workers, model, share, nice)


def _read_workers(table: Table) -> tuple[int, ...] | int | None:
    expected = f'a CPU list such as "1-3", or how many workers (1 to {MAX_WORKERS})'
    value: Any = table.get("workers", None, expected, lambda v: isinstance(v, str) or is_integer(v))
    if isinstance(value, str):
        try:
            cpus = parse_cpu_list(value)
        except ValueError as error:
            table.notes.add((*table.path, "workers"), str(error))
            return None
        if len(cpus) > MAX_WORKERS:
            extra = f"at most {MAX_WORKERS} CPUs (one receive queue per worker; RSS has {MAX_WORKERS})"
            table.notes.add((*table.path, "workers"), f"found {len(cpus)} CPUs, expected {extra}")
        return cpus
    if isinstance(value, int) and not 1 <= value <= MAX_WORKERS:
        table.wrong("workers", expected)
        return None
    return value if isinstance(value, int) else None


def _read_forward(table: Table, programs: Table, ports: int) -> ForwardConfig:
    ring_size = table.get(
        "ring_size",
        512,
        f"a power of two from {RING_SIZES[0]} to {RING_SIZES[-1]}",
        lambda v: is_integer(v) and v in RING_SIZES,
    )
    # Half a ring: a burst must find room while the one before it is still being sent.
    max_frame = table.integer("max_frame", MIN_MAX_FRAME_BYTES, MIN_MAX_FRAME_BYTES, MAX_MAX_FRAME_BYTES)
    least = frame_buffers(max_frame)
    why = "half of ring_size" if least == 1 else f"what a frame of {max_frame} bytes fills; half of ring_size"
    batch = table.get(
        "batch",
        min(64, ring_size // 2),
        f"a whole number from {least} to {ring_size // 2} ({why})",
        lambda v: is_integer(v) and least <= v <= ring_size // 2,
    )
    forward = ForwardConfig(
        programs=read_programs(table, programs),
        engine=table.choice("engine", "native", ENGINES),
        ring_size=ring_size,
        batch=batch,
        buffers=_read_buffers(table, ports, ring_size, batch),
        idle=table.choice("idle", "adaptive", IDLES),
        max_frame=max_frame,
        interrupt_interval_us=table.get(
            "interrupt_interval_us",
            100,
            f"an even whole number from 0 to {MAX_INTERRUPT_INTERVAL_US} (microseconds)",
            lambda v: is_integer(v) and 0 <= v <= MAX_INTERRUPT_INTERVAL_US and v % 2 == 0,
        ),
        loop=table.choice("loop", "auto", LOOPS),
    )
    if forward.loop == "fused" and forward.engine != "native":
        table.wrong("loop", f'"auto" or "python" with engine = {shown(forward.engine)}')
    elif forward.loop == "fused" and forward.segmented:
        table.wrong("loop", f'"auto" or "python" with max_frame = {max_frame}, where a frame may fill several buffers')
    elif forward.loop == "fused" and not forward.fused:
        names = ", ".join(program.name for program in forward.programs)
        table.wrong("loop", f'"auto" or "python" with program = {shown(names)}, of which Python calls each by itself')
    if forward.engine == "naive" and forward.segmented:
        table.wrong("max_frame", 'at most 2044 with engine = "naive", which takes a frame for a buffer')
    table.finish()
    return forward


def _read_buffers(table: Table, ports: int, ring_size: int, batch: int) -> int:
    least = minimum_buffers(ports, ring_size, batch)
    need = f"{ports} ports, rings of {ring_size}, batches of {batch}"
    expected = f"0 (automatic) or a whole number from {least} ({need}) to {MAX_BUFFERS}"
    return table.get("buffers", 0, expected, lambda v: is_integer(v) and (v == 0 or least <= v <= MAX_BUFFERS))


def _read_rss(table: Table) -> RssConfig:
    key = table.text("key", "symmetric", '"symmetric", "microsoft" or 80 hexadecimal digits', _RSS_KEY)
    fields: tuple[RssField, ...] = RSS_FIELDS
    if table.has("fields"):
        fields = _read_fields(table)
    else:
        table.items("fields", "")
    table.finish()
    return RssConfig(key.lower(), fields)


def _read_fields(table: Table) -> tuple[RssField, ...]:
    expected = f"a list of {one_of(RSS_FIELDS)}"
    found: list[RssField] = []
    for index, value in enumerate(table.items("fields", expected)):
        path = (*table.path, "fields", index)
        if value not in RSS_FIELDS:
            table.notes.add(path, f"found {shown(value)}, expected {one_of(RSS_FIELDS)}")
        elif value in found:
            table.notes.add(path, f"found {shown(value)} again, expected each field once")
        else:
            found.append(value)
    if table.data["fields"] == []:
        table.wrong("fields", f"at least one of {one_of(RSS_FIELDS)}")
    return tuple(found)
