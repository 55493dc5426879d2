"""Events: what is written, what is read, and what becomes of it."""

import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixyfwd.errors import IxyfwdError
from ixyfwd.kit.recordring import CONTENT_BYTES_MAX
from ixyfwd.supervisor.events import Change, Events, read_events
from ixyfwd.supervisor.instance import Instance
from ixyfwd.supervisor.instances import EVENTS_FILE, EVENTS_KEPT_S, sweep_places
from ixyfwd.supervisor.places import runtime_dir
from tests.testing.support import no_events

CHANGE = Change("worker", "worker 1", "died", "worker 1 (pid 9) was killed by SIGKILL")
pytestmark = pytest.mark.usefixtures("runtime")


def write(name: str, *changes: Change, keep: bool = True) -> Path:
    instance = Instance(name)
    events = Events(instance.dir)
    for change in changes:
        events.add(change)
    events.close(keep=keep)
    instance.close()
    return instance.dir


def test_events_outlive_their_instance_and_go_on_with_the_next() -> None:
    write("one", CHANGE)
    write("one", CHANGE, CHANGE)
    found = read_events("one")
    assert [event.number for event in found] == [1, 2, 3]
    assert all((event.kind, event.subject, event.state, event.text) == tuple(vars(CHANGE).values()) for event in found)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.time) for event in found)


def test_events_that_are_not_kept_leave_nothing() -> None:
    directory = write("one", CHANGE, keep=False)
    assert not directory.exists()
    with pytest.raises(IxyfwdError, match="no events of an instance 'one'"):
        read_events("one")


def test_a_name_that_has_not_run_for_long_is_forgotten() -> None:
    directory = write("one", CHANGE)
    sweep_places()
    assert read_events("one")
    os.utime(directory / EVENTS_FILE, (0, time.time() - EVENTS_KEPT_S - 60))
    sweep_places()
    assert not directory.exists()


@given(st.text(max_size=600))
def test_a_text_is_shortened_to_what_a_record_takes(text: str) -> None:
    directory = runtime_dir("one")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    (directory / EVENTS_FILE).unlink(missing_ok=True)
    events = Events(directory)
    events.add(Change("run", "run", "running", text))
    events.close(keep=True)
    (found,) = read_events("one")
    assert found.text == text or (found.text.endswith("...") and text.startswith(found.text[:-3].rstrip()))
    assert found.text == text or len(text.encode()) > CONTENT_BYTES_MAX / 12


def test_a_place_that_cannot_be_written_costs_the_events_only(tmp_path: Path) -> None:
    events = no_events()
    events.add(CHANGE)
    events.close(keep=False)
    with open("/dev/full", "wb") as full:
        found = Events(tmp_path)
        ring = found._ring
        assert ring is not None
        os.dup2(full.fileno(), ring._fd)
        found.add(CHANGE)
        found.close(keep=False)
