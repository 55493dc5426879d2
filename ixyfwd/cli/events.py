"""`ixyfwd events`: what has happened to an instance, and what happens now."""

import sys
import time
from typing import Final

from ixyfwd.cli.output import Lines
from ixyfwd.errors import IxyfwdError
from ixyfwd.supervisor.events import read_events
from ixyfwd.telemetry.event import Event
from ixyfwd.telemetry.plain import to_plain

LOOK_S: Final = 0.2


class _ReaderGoneError(Exception):
    """The reader of standard output has gone."""


def events_command(instance: str, follow: bool, json: bool) -> None:
    """Print the events, the oldest first; with `follow` also those that come, until Ctrl-C. Raises IxyfwdError."""

    def on_closed() -> None:
        raise _ReaderGoneError

    out = Lines(sys.stdout, on_closed)
    last = 0
    try:
        while True:
            for event in _new(instance, last, patient=follow):
                _write(out, event, json)
                last = event.number
            if not follow:
                return
            time.sleep(LOOK_S)
    except _ReaderGoneError:
        return


def _new(instance: str, last: int, *, patient: bool) -> list[Event]:
    """The events after `last`; all of them if numbers began anew."""
    try:
        found = read_events(instance)
    except IxyfwdError:
        if patient:  # it may start yet
            return []
        raise
    return [event for event in found if event.number > last] if found and found[-1].number >= last else found


def _write(out: Lines, event: Event, json: bool) -> None:
    if json:
        out.write_json(to_plain(event))
    else:
        out.write(f"{event.time}  {event.kind:<6}  {event.text}")
