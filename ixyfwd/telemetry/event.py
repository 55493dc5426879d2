"""An event: one change of state in a run, as `ixyfwd events` prints it."""

from dataclasses import dataclass
from typing import Annotated, Final, Literal

from ixyfwd.telemetry.plain import About

EVENT_SCHEMA: Final = "ixyfwd-event-1"

EventKind = Literal["run", "worker", "model", "link", "wire", "step", "inject"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """A change of state in a run: a line of `ixyfwd events --json`."""

    schema: Annotated[str, About("What this object is, and its version.")] = EVENT_SCHEMA
    number: Annotated[int, About("Of the instance, from 1 on; a run goes on with the numbers of the one before.")]
    time: Annotated[str, About("UTC, as RFC 3339 has it, with milliseconds.")]
    kind: Annotated[EventKind, About("The kind of what has changed.")]
    subject: Annotated[str, About('Its name: "worker 1", "port p0", "run".')]
    state: Annotated[str, About("Its state from now on, in a word or two.")]
    text: Annotated[str, About("A sentence about it.")]
