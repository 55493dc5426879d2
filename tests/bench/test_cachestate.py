"""The states of the caches in which a turn by hand begins: what is made, what is left as it was."""

import os
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest

from ixyfwd.bench.cachestate import CACHES, USUAL_BYTES, Cache, cache_bytes, cache_state, check
from ixyfwd.bench.cost import cases
from ixyfwd.bench.turntable import open_turntable
from ixyfwd.errors import UsageError
from tests.testing.support import IXYFWD, run

TWO_CPUS = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")


@pytest.fixture
def one_cpu() -> Iterator[int]:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield min(allowed)
    os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize("cache", ["cold", "memory", pytest.param("other-core", marks=TWO_CPUS)])
@pytest.mark.parametrize("engine", ["native", "vector", "naive"])
def test_a_state_changes_no_byte_and_loses_no_frame(engine: str, cache: Cache) -> None:
    allowed = os.sched_getaffinity(0)
    with open_turntable(engine, 16, ring=64, program="touch") as table, cache_state(cache, table):
        assert table.turn() > 0
        table.ports[0].deliver(table.frames)
        before = bytes(table.memory.arena)
        assert table.prepare is not None
        table.prepare()
        assert bytes(table.memory.arena) == before
        table.ports[0]._rdh -= table.frames  # the frames are still there: give the same ones again
        assert table.turn() > 0
    assert table.prepare is None
    assert os.sched_getaffinity(0) == allowed


@pytest.mark.alone
def test_lines_in_memory_cost_more_than_lines_in_l1() -> None:
    cost: dict[Cache, float] = {}
    for cache in ("warm", "memory"):
        with open_turntable("native", 32, program="touch", loop="fused") as table, cache_state(cache, table):
            table.warm_up()
            cost[cache] = median(table.turn() for _ in range(15))
    assert cost["memory"] > 2 * cost["warm"]


def test_another_core_must_be_there(one_cpu: int) -> None:
    sentence = f"--cache other-core needs a second CPU, and this process may run on CPU {one_cpu} only"
    with pytest.raises(UsageError) as caught:
        cases(["native"], ["fused"], ["touch"], [32], [512], ["warm", "other-core"])
    assert str(caught.value) == sentence
    check(["warm", "cold", "memory"])


def test_every_state_is_a_row_of_cost() -> None:
    found = cases(["native"], ["fused"], ["touch"], [32], [512], ["warm", "cold"])
    assert [case.cache for case in found] == ["warm", "cold"]
    assert [str(case) for case in found] == [
        "native (fused), touch, batch 32, ring 512",
        "native (fused), touch, batch 32, ring 512, cold",
    ]
    assert cases(["native"], ["fused"], ["touch"], [32], [512]) == found[:1]


def test_an_unknown_state_is_named() -> None:
    done = run(*IXYFWD, "bench", "cost", "--cache", "tepid")
    assert done.returncode == 2
    assert f"--cache: 'tepid' is not one of {', '.join(CACHES)}" in done.stderr


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"index2/level": "2\n", "index2/size": "1024K\n"}, 1 << 20),
        ({"index2/level": "2\n", "index2/size": "unknown\n"}, USUAL_BYTES[2]),
        ({"index2/level": "2\n"}, USUAL_BYTES[2]),
        ({"index3/level": "3\n", "index3/size": "32768K\n"}, USUAL_BYTES[2]),
        ({}, USUAL_BYTES[2]),
    ],
)
def test_the_size_of_a_cache_is_read_or_taken_large(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cache_bytes(2, tmp_path) == expected
