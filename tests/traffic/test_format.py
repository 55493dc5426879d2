"""The format of test traffic: C and Python say the same."""

import ctypes
import os
import re
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixyfwd.programs.touch.worker import TOUCHED_BYTE
from ixyfwd.traffic import format as layout
from ixyfwd.traffic import schedule
from tests.testing.support import ROOT, run

HEADER = ROOT / "ixyfwd" / "traffic" / "format.h"
NUMBER = re.compile(r"^\s+([A-Z_]+) = (\w+),", re.MULTILINE)
# Functions of the header, made callable; the last two move `*due_ps` and return how far it went, too.
LIBRARY = """
#include "traffic/format.h"
uint64_t lag_ps(void) { return LAG_PS; }
uint32_t c_filler(uint32_t position) { return filler(position); }
uint32_t c_spread_step(uint32_t flow, uint32_t flows, uint32_t length) { return spread_step(flow, flows, length); }
uint32_t c_schedule_step(uint32_t flow, uint32_t n, uint32_t length) { return schedule_step(flow, n, length); }
uint64_t c_frames_due(uint64_t due_ps, uint64_t now_ps, uint64_t frame_ps)
{ return frames_due(due_ps, now_ps, frame_ps); }
uint64_t c_give_up_due(uint64_t *due_ps, uint64_t now_ps, uint64_t frame_ps)
{ return give_up_due(due_ps, now_ps, frame_ps); }
uint64_t c_give_up_late(uint64_t *due_ps, uint64_t now_ps, uint64_t frame_ps, uint64_t lag_ps)
{ return give_up_late(due_ps, now_ps, frame_ps, lag_ps); }
"""

TIMES = st.integers(0, 2**50)  # 13 days
DURATIONS = st.integers(1, 2**44)
FLOWS = st.integers(1, 2**20)
LENGTHS = st.integers(1, schedule.SCHEDULE_MAX)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The header's functions."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    assert compiler, "the project needs a C compiler"
    folder = tmp_path_factory.mktemp("format")
    (folder / "format.c").write_text(LIBRARY)
    flags = ("-shared", "-fPIC", "-std=gnu11", "-Wall", "-Werror", f"-I{ROOT / 'ixyfwd'}")
    done = run(compiler, *flags, str(folder / "format.c"), "-o", str(folder / "format.so"))
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / "format.so"))


def function(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Callable[..., int]:
    """One of them, with its types."""
    found: Any = getattr(library, name)
    found.restype, found.argtypes = result, arguments
    called: Callable[..., int] = found
    return called


def test_every_number_is_the_same() -> None:
    numbers = {name: int(text, 0) for name, text in NUMBER.findall(HEADER.read_text())}
    assert {"TEMPLATE_BYTES", "HEAD_BYTES", "AT_FLOW", "AT_STAMP", "MARK", "WIRE_OVERHEAD_BYTES"} <= set(numbers)
    assert numbers == {name: getattr(layout, name) for name in numbers}


def test_no_other_file_states_them() -> None:
    """In C, where each file of a model, an engine or a family could have its own."""
    names = "|".join(name for name, _ in NUMBER.findall(HEADER.read_text()))
    stated = re.compile(rf"\b(?:{names}|LAG_PS)\s*=(?!=)|#define (?:{names}|LAG_PS)\b")
    files = [path for path in (ROOT / "ixyfwd").rglob("*.[ch]") if not path.name.startswith("_") and path != HEADER]
    assert not [path for path in files if stated.search(path.read_text())]


def test_the_program_touch_changes_the_byte_that_the_sink_lets_it_change() -> None:
    assert TOUCHED_BYTE == layout.AT_TOUCH


def test_the_filler_is_the_same(library: ctypes.CDLL) -> None:
    filler = function(library, "c_filler", ctypes.c_uint32, ctypes.c_uint32)
    assert layout.filler(60, 15872) == bytes(filler(at) for at in range(60, 15872))


def test_a_worker_is_as_patient_in_c(library: ctypes.CDLL) -> None:
    assert function(library, "lag_ps", ctypes.c_uint64)() == schedule.LAG_PS


@given(flow=st.integers(0, 2**20), sequence=st.integers(0, 2**32 - 1), length=LENGTHS)
def test_a_frame_has_the_same_step(library: ctypes.CDLL, flow: int, sequence: int, length: int) -> None:
    step = function(library, "c_schedule_step", *[ctypes.c_uint32] * 4)
    assert step(flow, sequence, length) == schedule.schedule_step(flow, sequence, length)


@given(flows=FLOWS, length=LENGTHS, data=st.data())
def test_flows_are_spread_over_the_schedule(library: ctypes.CDLL, flows: int, length: int, data: st.DataObject) -> None:
    flow = data.draw(st.integers(0, flows - 1))
    assert function(library, "c_spread_step", *[ctypes.c_uint32] * 4)(flow, flows, length) == flow * length // flows


@given(due_ps=TIMES, now_ps=TIMES, frame_ps=DURATIONS)
def test_the_same_frames_are_due(library: ctypes.CDLL, due_ps: int, now_ps: int, frame_ps: int) -> None:
    expected = schedule.frames_due(due_ps, now_ps, frame_ps)
    assert function(library, "c_frames_due", *[ctypes.c_uint64] * 4)(due_ps, now_ps, frame_ps) == expected
    at = ctypes.c_uint64(due_ps)
    give_up = function(library, "c_give_up_due", ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64)
    assert give_up(ctypes.byref(at), now_ps, frame_ps) == expected
    assert at.value == due_ps + expected * frame_ps
    assert schedule.frames_due(at.value, now_ps, frame_ps) == 0


@given(due_ps=TIMES, now_ps=TIMES, frame_ps=DURATIONS, lag_ps=st.sampled_from([0, 16_000_000, schedule.LAG_PS]))
def test_the_same_frames_are_given_up(
    library: ctypes.CDLL, due_ps: int, now_ps: int, frame_ps: int, lag_ps: int
) -> None:
    expected = schedule.frames_late(due_ps, now_ps, frame_ps, lag_ps)
    at = ctypes.c_uint64(due_ps)
    give_up = function(library, "c_give_up_late", ctypes.c_uint64, ctypes.c_void_p, *[ctypes.c_uint64] * 3)
    assert give_up(ctypes.byref(at), now_ps, frame_ps, lag_ps) == expected
    assert at.value == due_ps + expected * frame_ps
    assert schedule.frames_late(at.value, now_ps, frame_ps, lag_ps) == 0


@pytest.mark.parametrize(
    ("rate", "share", "size", "expected"),
    [("line", 1.0, 60, 67_200), ("line", 0.5, 1514, 2_460_800), (1e6, 1.0, 60, 1_000_000), ("max", 1.0, 60, 0)],
)
def test_a_frame_takes_its_time(rate: schedule.SendRate, share: float, size: int, expected: int) -> None:
    assert schedule.frame_ps(rate, share, size) == expected
