"""Numbers that exist twice, names, the search for finished descriptors."""

import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixyfwd.engine.open import open_engine
from ixyfwd.engine.vector_views import count_leading, split
from ixyfwd.errors import UsageError
from ixyfwd.memory import layout
from ixyfwd.nic.ixgbe.descriptors import DESCRIPTOR_BYTES, RS_INTERVAL
from ixyfwd.telemetry.counters import (
    DROP_CAUSES,
    PORT_BLOCK_WORD,
    PORT_BLOCK_WORDS,
    PROGRAM_BLOCK_WORDS,
    PROGRAM_COUNTERS,
    MetricRow,
    NumberKind,
    PortWord,
    ProgramWord,
    Word,
    words_header,
)
from tests.testing.fake_nic import Rig
from tests.testing.support import ROOT


def test_c_and_python_count_in_the_same_words() -> None:
    from ixyfwd.nic.ixgbe.rings import _ixgbe

    lib: Any = _ixgbe.lib

    for prefix, rows in (("WORD", Word), ("PORT", PortWord), ("PROGRAM", ProgramWord)):
        assert {row.name: getattr(lib, f"{prefix}_{row.name}") for row in rows} == dict(rows.__members__)
    assert (lib.PORT_BLOCK_WORDS, lib.PROGRAM_DROP_CAUSES) == (PORT_BLOCK_WORDS, DROP_CAUSES)
    assert lib.RS_INTERVAL == RS_INTERVAL


def test_c_has_no_words_but_those_of_the_rows() -> None:
    """None is declared by hand, and the header that the build wrote is that of these rows."""
    sources = [path for path in (ROOT / "ixyfwd").rglob("*.[ch]") if not path.name.startswith("_")]
    header = ROOT / "ixyfwd" / "telemetry" / "words.h"
    assert header.read_text() == words_header()
    declared = re.compile(r"^\s*(?:#define\s+)?(?:WORD|PORT|PROGRAM)_[A-Z_]+\s*=?\s*\d", re.MULTILINE)
    assert [path for path in sources if declared.search(path.read_text())] == [header]


@pytest.mark.parametrize("rows", [Word, PortWord, ProgramWord])
def test_each_row_has_a_word_of_its_own_inside_its_block_and_a_sentence(rows: type[MetricRow]) -> None:
    assert len(rows) == len(rows.__members__)  # no two share a word
    size = PORT_BLOCK_WORD if rows is Word else PORT_BLOCK_WORDS
    assert all(0 <= row < size for row in rows)
    assert all(row.text.endswith(".") and row.unit for row in rows)


def test_the_named_words_of_a_program_have_their_room() -> None:
    single = {word.value for word in ProgramWord if word.kind is not NumberKind.NAMED}
    drops = {ProgramWord.DROPS + n for n in range(DROP_CAUSES)}
    own = {ProgramWord.COUNTERS + n for n in range(PROGRAM_COUNTERS)}
    assert len(single | drops | own) == len(single) + DROP_CAUSES + PROGRAM_COUNTERS
    assert max(own) < PROGRAM_BLOCK_WORDS


def test_c_structures_are_where_the_layout_says() -> None:
    from ixyfwd.nic.ixgbe.rings import _ixgbe

    ffi: Any = _ixgbe.ffi

    assert ffi.sizeof("struct descriptor") == DESCRIPTOR_BYTES
    assert ffi.sizeof("struct ring_state") == layout.RING_STATE_BYTES
    assert [ffi.offsetof("struct ring_state", f) for f in ("next", "tail", "clean", "spanning")] == [0, 4, 8, 12]
    assert ffi.offsetof("struct pool", "stack") == layout.POOL_STATE_BYTES
    assert ffi.offsetof("struct batch", "cells") == 64


def test_a_missing_compiled_module_is_one_sentence() -> None:
    code = (
        "import sys; sys.modules['ixyfwd.engine._native'] = None\n"
        "from tests.testing.fake_nic import Rig\nfrom ixyfwd.errors import IxyfwdError\n"
        "try: Rig('native')\nexcept IxyfwdError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert run.stdout.startswith("the native engine is not compiled (")
    assert 'choose engine = "vector"' in run.stdout


def test_unknown_names_are_wrong_use() -> None:
    with pytest.raises(UsageError, match=r"no engine 'warp'; choose one of: native, vector, naive"):
        open_engine("warp", Rig("native").memory)


@given(done=st.integers(0, 600), limit=st.integers(0, 600))
def test_count_leading_finds_the_end_of_what_is_done(done: int, limit: int) -> None:
    looks = []

    def is_done(i: int) -> int:
        assert 0 <= i < limit
        looks.append(i)
        return i < done

    assert count_leading(is_done, limit) == min(done, limit)
    assert len(looks) <= 2 + limit.bit_length()


@given(st.integers(0, 511), st.integers(0, 511))
def test_split_covers_a_run_without_going_around(slot: int, n: int) -> None:
    covered = [(s + i, at + i) for s, count, at in split(slot, n, 512) for i in range(count)]
    assert covered == [((slot + i) % 512, i) for i in range(n)]
