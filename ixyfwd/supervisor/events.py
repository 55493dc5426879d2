"""The events of an instance: written by the supervisor to a ring that outlives it, read by any process."""

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from ixyfwd.errors import IxyfwdError
from ixyfwd.kit.recordring import CONTENT_BYTES_MAX, RecordRing, read_records
from ixyfwd.supervisor.instances import EVENTS_FILE
from ixyfwd.supervisor.places import is_private, places
from ixyfwd.telemetry.event import Event, EventKind
from ixyfwd.telemetry.plain import from_plain, to_plain

_CUT: Final = "..."


@dataclass(frozen=True)
class Change:
    """What an event says; `ring` puts a number and a time to it."""

    kind: EventKind
    subject: str
    state: str
    text: str


class Events:
    """The writer of the ring in an instance's directory. What cannot be written is lost and holds up nothing."""

    def __init__(self, directory: Path) -> None:
        """Open the ring. A directory without room costs the events and not the run."""
        self._path = directory / EVENTS_FILE
        self._ring: RecordRing | None = None
        with suppress(OSError):
            self._ring = RecordRing(self._path)

    def add(self, change: Change) -> None:
        """Write an event."""
        if self._ring is None:
            return
        event = Event(number=self._ring.next_number, time=_now(), **vars(change))
        with suppress(OSError):
            self._ring.append(_fitting(event))

    def close(self, *, keep: bool) -> None:
        """Close the ring, and remove it unless it is to be kept for the next run of that name."""
        if self._ring is not None:
            self._ring.close()
            self._ring = None
        if not keep:
            self._path.unlink(missing_ok=True)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fitting(event: Event) -> bytes:
    """The event as JSON, its text shortened if it is too long for a record."""
    data = _encoded(event)
    for kept in range(len(event.text), -1, -16):
        if len(data) <= CONTENT_BYTES_MAX:
            break
        data = _encoded(replace(event, text=event.text[:kept].rstrip() + _CUT))
    return data


def _encoded(event: Event) -> bytes:
    return json.dumps(to_plain(event), ensure_ascii=False, separators=(",", ":")).encode()


def read_events(instance: str) -> list[Event]:
    """The events of an instance of this user, running or not, the oldest first.

    Raises IxyfwdError if there is no ring of that name, or it cannot be read.
    """
    for place in places():
        path = place.base / instance / EVENTS_FILE
        if not is_private(path.parent):
            continue
        try:
            records = read_records(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise IxyfwdError(f"{path}: the events cannot be read: {error.strerror}") from None
        return [event for _, content in records if (event := _decoded(content)) is not None]
    raise IxyfwdError(f"there are no events of an instance '{instance}'; `ixyfwd instances` lists those that run")


def _decoded(content: bytes) -> Event | None:
    """None for what another version wrote, if this one cannot read it."""
    try:
        return from_plain(Event, json.loads(content))
    except (ValueError, IxyfwdError):
        return None
