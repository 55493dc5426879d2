"""Numbers that exist twice, names, the search for finished descriptors."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ixyfwd.engine.open import open_engine
from ixyfwd.engine.vector_views import count_leading, split
from ixyfwd.errors import UsageError
from ixyfwd.memory import layout
from ixyfwd.nic.ixgbe.descriptors import DESCRIPTOR_BYTES, RS_INTERVAL
from ixyfwd.telemetry.counters import PORT_BLOCK_WORDS, PortWord, Word
from tests.fake_nic import Rig
from tests.support import ROOT


def test_c_and_python_count_in_the_same_words() -> None:
    from ixyfwd.nic.ixgbe.rings._ixgbe import lib

    assert {name: getattr(lib, f"PORT_{name}") for name in PortWord.__members__} == dict(PortWord.__members__)
    assert lib.PORT_BLOCK_WORDS == PORT_BLOCK_WORDS
    assert lib.RS_INTERVAL == RS_INTERVAL
    assert (lib.WORD_POLLS, lib.WORD_EMPTY_POLLS, lib.WORD_BURSTS) == (Word.POLLS, Word.EMPTY_POLLS, Word.BURSTS)
    assert lib.WORD_BUSY_NS == Word.BUSY_NS
    assert (lib.WORD_PAUSES, lib.WORD_PAUSED_NS) == (Word.PAUSES, Word.PAUSED_NS)
    assert (lib.WORD_LONGEST_PAUSE_NS, lib.WORD_LOOKED_NS) == (Word.LONGEST_PAUSE_NS, Word.LOOKED_NS)


def test_c_structures_are_where_the_layout_says() -> None:
    from ixyfwd.nic.ixgbe.rings._ixgbe import ffi

    assert ffi.sizeof("struct descriptor") == DESCRIPTOR_BYTES
    assert ffi.sizeof("struct ring_state") == layout.RING_STATE_BYTES
    assert [ffi.offsetof("struct ring_state", f) for f in ("next", "tail", "clean", "spanning")] == [0, 4, 8, 12]
    assert ffi.offsetof("struct pool", "stack") == layout.POOL_STATE_BYTES
    assert ffi.offsetof("struct batch", "cells") == 64


def test_a_missing_compiled_module_is_one_sentence() -> None:
    code = (
        "import sys; sys.modules['ixyfwd.engine._native'] = None\n"
        "from tests.fake_nic import Rig\nfrom ixyfwd.errors import IxyfwdError\n"
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
