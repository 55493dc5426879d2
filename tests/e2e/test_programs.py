"""Programs that decide, in real runs: every frame is in one verdict and in one place of the account."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.testing.support import Instance, assert_sums, eventually, report_of

COUNT = 2000
CONFIG = """[[port]]
name = "a"
device = "sim:a"
wire = {{ kind = "generator", flows = 8, frame = [64, 512], rate = 2e4, count = {count} }}
[[port]]
name = "b"
device = "sim:b"
wire = {{ kind = "generator", flows = 8, frame = [64, 512], rate = 2e4, count = {count} }}
[[link]]
ports = ["a", "b"]
[forward]
program = {program}
engine = "{engine}"
max_frame = {max_frame}
[program.drop]
{settings}
"""


def write(folder: Path, program: str, settings: str = "", engine: str = "native", **others: object) -> str:
    path = folder / "c.toml"
    values = {"count": COUNT, "max_frame": 1518, **others}
    path.write_text(CONFIG.format(program=program, settings=settings, engine=engine, **values))
    return str(path)


def check_sums(report: dict[str, Any]) -> None:
    """The account of the run, that of each program, and the generators' own."""
    assert_sums(report)
    assert report["sink"]["lost"] == sum(report["drops"].values()) + report["in_flight"]


def run_to_the_end(instance: Instance, path: str, *arguments: str) -> dict[str, Any]:
    done = instance.command("start", "-c", path, "--until-done", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    report = report_of(done.stdout)
    check_sums(report)
    return report


@pytest.mark.parametrize("engine", ["native", "vector", "naive"])
def test_each_engine_drops_alike(instance: Instance, tmp_path: Path, engine: str) -> None:
    report = run_to_the_end(instance, write(tmp_path, '["drop", "touch"]', "shorter_than = 100", engine))
    drop, touch = report["programs"]
    assert report["program"] == "drop, touch" and report["loop"] == "python"
    assert drop["in"] == 2 * COUNT - report["drops"]["rx_no_descriptor"]
    assert drop["drops"] == {"shorter": drop["in"] - drop["passed"], "longer": 0, "every": 0}
    assert drop["counters"]["bytes"] == 64 * drop["drops"]["shorter"]
    assert touch["in"] == drop["passed"] and touch["in"] > 0
    assert report["drops"]["drop.shorter"] == drop["drops"]["shorter"] > 0


def test_everything_is_dropped_and_nothing_is_sent(instance: Instance, tmp_path: Path) -> None:
    report = run_to_the_end(instance, write(tmp_path, '"drop"'))
    assert report["tx_packets"] == 0
    assert report["programs"][0]["drops"]["every"] == report["programs"][0]["in"] > 0


def test_frames_of_several_buffers_have_one_verdict(instance: Instance, tmp_path: Path) -> None:
    path = write(tmp_path, '"drop"', "longer_than = 4000", max_frame=9018)
    Path(path).write_text(Path(path).read_text().replace("[64, 512]", "[64, 9018]"))
    (drop,) = run_to_the_end(instance, path)["programs"]
    assert (
        drop["drops"]["longer"] > 0 and drop["passed"] > 0 and drop["drops"]["shorter"] == drop["drops"]["every"] == 0
    )
    assert drop["counters"]["bytes"] == 9018 * drop["drops"]["longer"]


def test_several_programs_that_do_not_decide_keep_the_fused_loop(instance: Instance, tmp_path: Path) -> None:
    report = run_to_the_end(instance, write(tmp_path, '["touch", "xconnect"]'))
    assert report["loop"] == "fused"
    assert [row["in"] for row in report["programs"]] == [report["tx_packets"] + report["drops"]["tx_full"]] * 2


def test_a_worker_that_is_killed_takes_no_frame_out_of_the_account(instance: Instance, tmp_path: Path) -> None:
    path = write(tmp_path, '["drop", "touch"]', "every = 3", count=10**9)
    process = instance.start("-c", path, "--json")
    status = eventually(lambda: s if (s := instance.status())["programs"][0]["drops"]["every"] > 100 else None, "drops")
    assert status["programs"][0]["name"] == "drop"
    os.kill(status["workers"][0]["pid"], signal.SIGKILL)
    eventually(lambda: instance.status()["workers"][0]["restarts"], "it is started again")
    instance.command("stop")
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert_sums(report_of(out))


def test_a_report_for_people_has_a_row_per_program(instance: Instance, tmp_path: Path) -> None:
    done = instance.command("start", "-c", write(tmp_path, '"drop"', "every = 2"), "--until-done")
    assert done.returncode == 0, done.stderr
    assert "programs (model)" in done.stdout and "drop.every" in done.stdout
