"""`ixyfwd doctor --measure`: what was seen of the CPUs, and what the rows make of it."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from ixyfwd.cli.app import run
from ixyfwd.cli.doctor import doctor_command
from ixyfwd.errors import IxyfwdError
from ixyfwd.host.doctor import DoctorRow
from ixyfwd.host.doctor_machine import FindingState, MachineFiles, Need
from ixyfwd.host.doctor_measure import measured_rows
from ixyfwd.host.doctor_watch import Distance, Seen, User, account_of, watch_machine
from ixyfwd.probe.pauses import Watched
from tests.testing.doctor_fake import build
from tests.testing.support import busy_with

Capture = pytest.CaptureFixture[str]
OK, WARN, UNKNOWN = FindingState.OK, FindingState.WARN, FindingState.UNKNOWN
NEED = Need(workers=(0,), model=1, ring_fill_us=34.4)
SECOND_NS = 1_000_000_000


def watched(gaps_us: Sequence[float] = (), delay_us: float | None = 0, steal_us: float | None = 0) -> Watched:
    return Watched(
        tuple(int(1000 * gap) for gap in gaps_us),
        SECOND_NS,
        None if delay_us is None else int(1000 * delay_us),
        None if steal_us is None else int(1000 * steal_us),
    )


def rows_of(
    machine: MachineFiles, worker: Watched, *, model: Watched | None = None, **more: Any
) -> dict[str, DoctorRow]:
    rows = measured_rows(machine, NEED, Seen(1.0, {0: worker, 1: model or watched()}, **more))
    assert all(row.topic == "measured" for row in rows)
    assert all(bool(row.fix) == (row.state is WARN) for row in rows)
    return {row.label: row for row in rows}


def test_a_quiet_machine_is_ok(tmp_path: Path) -> None:
    rows = rows_of(build(tmp_path), watched([2, 34]), distances=(Distance(0, 1, 80.0, 120.0),))
    assert [row.state for row in rows.values()] == [OK] * 7
    assert rows["distance of CPU 0 and 1"].found == "near: 80 ns before, 120 ns after"


def test_pauses_longer_than_a_ring_lasts_cost_frames(tmp_path: Path) -> None:
    rows = rows_of(build(tmp_path), watched([20, 134.4, 3034.4], delay_us=3200), model=watched([3034.4], 3034.4))
    row = rows["pauses on CPU 0"]
    assert row.state is WARN
    assert row.found == "2 a second, 0.32 % of the time, the longest 3.0 ms; 0.31 % of frames lost at line rate"
    assert row.wanted == "none longer than 34 us, the time that fills a ring"
    assert "lost" not in rows["pauses on CPU 1"].found, "wires of the model stand still with it"
    assert rows["hypervisor on CPU 0"].state is OK, "run delay explains the pauses"


def test_who_takes_the_cpu_is_named(tmp_path: Path) -> None:
    users = {0: tuple(User(pid, name, share) for pid, name, share in ((7, "cc1", 0.4), (8, "ld", 0.2)))}
    rows = rows_of(build(tmp_path), watched(delay_us=600_000), model=watched(delay_us=5000), users=users)
    row = rows["processes on CPU 0"]
    assert (row.state, row.found) == (
        WARN,
        "60.00 % of the time behind others: cc1 (process 7) 40.00 %, ld (process 8) 20.00 %",
    )
    assert "isolcpus=0 " in f"{row.fix} "
    assert "[cpu] model" in rows["processes on CPU 1"].fix
    unknown = rows_of(build(tmp_path / "other"), watched(delay_us=None))
    assert unknown["processes on CPU 0"].state is UNKNOWN


@pytest.mark.parametrize(
    ("seen", "state", "found"),
    [
        (watched([3000], steal_us=10_000), WARN, "says that it took 1.00 % of the time"),
        (watched([3000, 2000], delay_us=1000), WARN, "says nothing; 0.40 % of the time is unexplained"),
        (watched([3000], delay_us=3000), OK, "took nothing"),
        (watched(steal_us=None), UNKNOWN, "/proc/stat does not say what a hypervisor takes"),
    ],
)
def test_what_a_hypervisor_takes(tmp_path: Path, seen: Watched, state: FindingState, found: str) -> None:
    row = rows_of(build(tmp_path), seen)["hypervisor on CPU 0"]
    assert (row.state, row.found) == (state, found)


@pytest.mark.parametrize(
    ("before", "after", "state", "found"),
    [
        (400.0, 380.0, WARN, "far: 400 ns before, 380 ns after"),
        (90.0, 400.0, WARN, "changed from near to far: 90 ns before, 400 ns after"),
        (None, 90.0, UNKNOWN, "no answer from one of the CPUs within a second"),
    ],
)
def test_the_distance_of_a_worker_and_the_model(
    tmp_path: Path, before: float | None, after: float | None, state: FindingState, found: str
) -> None:
    rows = rows_of(build(tmp_path), watched(), distances=(Distance(0, 1, before, after),))
    row = rows["distance of CPU 0 and 1"]
    assert (row.state, row.found) == (state, found)


def test_shares_never_exceed_the_time() -> None:
    account = account_of(watched([2_000_000], delay_us=3_000_000), 34.4)
    assert (account.paused_share, account.run_delay_share) == (1.0, 1.0)


def test_rows_and_figures_are_in_the_report(tmp_path: Path, capsys: Capture) -> None:
    asked: list[float] = []

    def watch(need: Need, seconds: float) -> Seen:
        asked.append(seconds)
        return Seen(seconds, {cpu: watched([3034.4]) for cpu in need.workers})

    build(tmp_path)
    code = doctor_command(None, True, tmp_path, measure_s=2.5, watch=watch)
    report = json.loads(capsys.readouterr().out)
    assert asked == [2.5]
    measured = [row for row in report["rows"] if row["topic"] == "measured"]
    assert measured and {row["name"] for row in measured} == {"pauses", "processes", "hypervisor"}
    assert report["measured"]["cpus"][0]["longest_us"] == 3034.4
    assert code == report["exit_code"] == (1 if report["counts"]["missing"] else 0), "a pause is no failure"


def test_without_the_option_nothing_is_watched(tmp_path: Path, capsys: Capture) -> None:
    def watch(need: Need, seconds: float) -> Seen:
        raise AssertionError("watched")

    build(tmp_path)
    doctor_command(None, True, tmp_path, watch=watch)
    report = json.loads(capsys.readouterr().out)
    assert report["measured"] is None
    assert all(row["topic"] != "measured" for row in report["rows"])


def test_a_watch_that_fails_is_a_row(tmp_path: Path, capsys: Capture) -> None:
    def watch(need: Need, seconds: float) -> Seen:
        raise IxyfwdError("watching CPU 0 for pauses failed with exit code 1")

    build(tmp_path)
    doctor_command(None, True, tmp_path, measure_s=1.0, watch=watch)
    (row,) = [row for row in json.loads(capsys.readouterr().out)["rows"] if row["topic"] == "measured"]
    assert (row["state"], row["found"]) == ("unknown", "watching CPU 0 for pauses failed with exit code 1")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seconds", "2"], "give both"),
        (["--measure", "--seconds", "0"], "--seconds: found 0, expected more than 0"),
        (["--measure", "--seconds", "nan"], "--seconds: found nan"),
        (["--measure", "--seconds", "1e9"], "at most 600"),
    ],
)
def test_wrong_times_are_wrong_use(arguments: list[str], said: str, capsys: Capture) -> None:
    assert run(["doctor", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_busy_process_makes_pauses_and_is_named() -> None:
    """On this machine: a process that spins on the same CPU takes its share of it."""
    cpu = min(os.sched_getaffinity(0))
    with busy_with(cpu) as busy:
        seen = watch_machine(Need(workers=(cpu,), ring_fill_us=34.4), 0.5)
    account = account_of(seen.watched[cpu], 34.4)
    assert account.pauses_per_s > 0
    assert account.paused_share > 0.1
    assert account.run_delay_share is not None and account.run_delay_share > 0.1
    assert busy.pid in [user.pid for user in seen.users[cpu]]
    assert seen.distances == (), "there is no model"


def test_the_command_measures_this_machine(capsys: Capture) -> None:
    run(["doctor", "--measure", "--seconds", "0.1", "--json"])
    report = json.loads(capsys.readouterr().out)
    assert report["measured"]["duration_s"] == 0.1
    cpus = {row["cpu"] for row in report["measured"]["cpus"]}
    assert cpus and cpus <= os.sched_getaffinity(0)
