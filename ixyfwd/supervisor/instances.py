"""All instances of this user: which of them live, and what killed ones left in the run-time directory."""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ixyfwd.kit.locks import find_holder, left_behind
from ixyfwd.supervisor.places import LOCK, is_private, places

ABOUT: Final = "about.json"
ABOUT_BYTES_MAX: Final = 64 * 1024
EVENTS_FILE: Final = "events"
EVENTS_KEPT_S: Final = 7 * 86_400.0
_LEFT: Final = ("*.sock", ABOUT)


@dataclass(frozen=True)
class Running:
    """An instance whose lock is held. What it has not yet said of itself is None."""

    name: str
    pid: int | None
    command: str | None
    uptime_s: float | None  # since it took its name
    device: str | None
    ports: Sequence[str]


def living_instances() -> list[Running]:
    """The instances of this user, by name: runs of every kind, each under the name that it took."""
    found: dict[str, Running] = {}
    for place in places():
        for one in living(place.base) if is_private(place.base) else ():
            if one.name not in found or found[one.name].command is None:  # one may have locks in two places
                found[one.name] = one
    return [found[name] for name in sorted(found)]


def sweep_places() -> None:
    """Sweep what is dead in all places of this user."""
    for place in places():
        if is_private(place.base):
            sweep_dead(place.base)


def living(base: Path) -> list[Running]:
    """The instances below a run-time directory, by name."""
    found = []
    for directory in _directories(base):
        holder = find_holder(directory / LOCK)
        if holder is None:
            continue
        about = _about(directory)
        begun_ns = about.get("begun_ns")
        uptime_s = (time.monotonic_ns() - begun_ns) / 1e9 if isinstance(begun_ns, int) else None
        found.append(
            Running(
                name=directory.name,
                pid=holder.pid,
                command=about.get("command"),
                uptime_s=None if uptime_s is None else round(uptime_s, 1),
                device=about.get("device"),
                ports=tuple(about.get("ports", ())),
            )
        )
    return found


def sweep_dead(base: Path) -> list[str]:
    """Remove what instances left whose process was killed, and nothing else; returns their names.

    Their lock is free.
    """
    swept = []
    for directory in _directories(base):
        with contextlib.suppress(OSError):  # it lives, or holds what is not ours
            with left_behind(directory / LOCK) as dead:
                if dead:
                    remove_left(directory)
                    (directory / LOCK).unlink(missing_ok=True)
                    swept.append(directory.name)
            _forget_events(directory)
            directory.rmdir()
    return swept


def _forget_events(directory: Path) -> None:
    """Remove the events of a name that has not run for EVENTS_KEPT_S seconds. Raises OSError."""
    events = directory / EVENTS_FILE
    with contextlib.suppress(FileNotFoundError):
        age_s = time.time() - events.lstat().st_mtime
        if age_s > EVENTS_KEPT_S and not (directory / LOCK).exists():
            events.unlink()


def remove_left(directory: Path) -> None:
    """Remove what an instance puts into its directory beside its lock. To be called by who has the lock."""
    for pattern in _LEFT:
        for left in directory.glob(pattern):
            left.unlink(missing_ok=True)


def describe(directory: Path, command: str, device: str, ports: Sequence[str]) -> None:
    """Have an instance say of itself what `living` shows. Raises OSError."""
    about = {"command": command, "device": device, "ports": list(ports), "begun_ns": time.monotonic_ns()}
    fd = os.open(directory / ABOUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        json.dump(about, file)


def _directories(base: Path) -> Iterator[Path]:
    """Those that are this user's own."""
    try:
        names = sorted(os.listdir(base))
    except OSError:
        return
    for name in names:
        if is_private(base / name):
            yield base / name


def _about(directory: Path) -> dict[str, Any]:
    """What it says; nothing before it has said it."""
    try:
        with open(directory / ABOUT, encoding="utf-8") as file:
            about = json.loads(file.read(ABOUT_BYTES_MAX))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}
