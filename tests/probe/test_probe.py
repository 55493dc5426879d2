"""What the machine does to processes that poll: distance, stolen time."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from ixyfwd.errors import IxyfwdError
from ixyfwd.probe._probe import ffi, lib
from ixyfwd.probe.distance import distance_of, round_trip_ns
from ixyfwd.probe.pauses import observe_cpus, watch_cpus
from ixyfwd.probe.stolen import StolenWatch, run_delay_ns, steal_ns
from tests.testing.support import busy_with, eventually

STAT = "cpu  1 2 3 4 5 6 7 90 0 0\ncpu0 1 2 3 4 5 6 7 {} 0 0\ncpu1 1 2 3 4 5 6 7 {} 0 0\nintr 1\n"


def fake_proc(folder: Path, delay_ns: int, ticks: tuple[int, int]) -> Path:
    (folder / "7").mkdir(exist_ok=True)
    (folder / "7" / "schedstat").write_text(f"123456 {delay_ns} 9\n")
    (folder / "stat").write_text(STAT.format(*ticks))
    return folder


def test_a_line_takes_time_between_two_cpus_and_the_affinity_stays() -> None:
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("one CPU has no distance")
    first, second, *_ = sorted(allowed)
    found = round_trip_ns(first, second)
    assert found is not None and found > 0
    assert distance_of(found) in ("near", "far")
    assert os.sched_getaffinity(0) == allowed


def test_a_cpu_has_no_distance_to_itself_nor_to_one_that_is_not_allowed() -> None:
    allowed = sorted(os.sched_getaffinity(0))
    assert round_trip_ns(allowed[0], allowed[0]) is None
    assert round_trip_ns(allowed[0], 1023) is None


def test_an_end_that_hears_nothing_gives_up() -> None:
    line, took = ffi.new("struct line *"), ffi.new("uint64_t[]", 1)
    assert lib.line_first(line, took, 1, 1, 1_000_000) == 0
    assert line.stopped
    assert lib.line_second(line, 1, 2, 1_000_000) == 0  # the turn is the first end's last word


@pytest.mark.parametrize(("ns", "kind"), [(66.0, "near"), (130.0, "near"), (380.0, "far"), (1700.0, "far")])
def test_the_distances_that_were_seen_have_names(ns: float, kind: str) -> None:
    assert distance_of(ns) == kind


def test_shares_are_of_the_time_since_the_watch_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000_000_000]
    monkeypatch.setattr(time, "monotonic_ns", lambda: now[0])
    watch = StolenWatch({7: 1}, fake_proc(tmp_path, 5_000_000, (10, 20)))
    now[0] += 2_000_000_000
    fake_proc(tmp_path, 25_000_000, (99, 30))
    found = watch.shares()[7]
    assert found.run_delay == pytest.approx(0.01)
    assert found.steal == pytest.approx(10 / os.sysconf("SC_CLK_TCK") / 2)


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    watch = StolenWatch({7: 0, 8: None}, fake_proc(tmp_path, 0, (0, 0)))
    (tmp_path / "7" / "schedstat").write_text("garbage\n")
    (tmp_path / "stat").write_text("cpu0 x\n")
    assert (watch.shares()[7].run_delay, watch.shares()[7].steal) == (None, None)
    assert (watch.shares()[8].run_delay, watch.shares()[8].steal) == (None, None)
    assert steal_ns(tmp_path / "nowhere") == {} and run_delay_ns(1, tmp_path / "nowhere") is None


def test_two_processes_on_one_cpu_wait_for_each_other() -> None:
    cpu = min(os.sched_getaffinity(0))
    with busy_with(cpu) as one, busy_with(cpu) as other:
        watch = StolenWatch({process.pid: cpu for process in (one, other)})
        time.sleep(0.5)
        delays = [watch.shares()[process.pid].run_delay for process in (one, other)]
    assert all(delay is not None and delay > 0.1 for delay in delays)


def test_cpus_are_watched_side_by_side() -> None:
    cpus = os.sched_getaffinity(0)
    found = watch_cpus(cpus, 0.05)
    assert set(found) == cpus
    assert all(gap >= 1000 for gaps in found.values() for gap in gaps)


def test_a_watched_cpu_has_an_account_of_its_time() -> None:
    cpu = min(os.sched_getaffinity(0))
    found = observe_cpus({cpu}, 0.05)[cpu]
    assert found.elapsed_ns >= 50_000_000
    assert sum(found.gaps_ns) <= found.elapsed_ns
    assert found.run_delay_ns is not None and 0 <= found.run_delay_ns <= found.elapsed_ns


def test_a_cpu_that_may_not_be_used_is_one_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(IxyfwdError, match="watching CPU 1023 for pauses failed with exit code 1"):
        observe_cpus({1023}, 0.05)
    assert capfd.readouterr().err.strip() == "ixyfwd: CPU 1023 cannot be watched (Invalid argument)"


def test_watchers_do_not_outlive_who_asked() -> None:
    cpu = min(os.sched_getaffinity(0))
    program = f"from ixyfwd.probe.pauses import watch_cpus\nwatch_cpus({{{cpu}}}, 60)"
    with subprocess.Popen([sys.executable, "-c", program]) as asking:
        process = psutil.Process(asking.pid)
        watchers = eventually(process.children, "a watcher is started")
        asking.send_signal(signal.SIGKILL)
    assert eventually(lambda: not watchers[0].is_running() or watchers[0].status() == psutil.STATUS_ZOMBIE, "it ends")
