"""Drills: what a run does on its worst day, with real processes on the model. Called by `scripts/drills`.

A generator sends numbered flows into port p0, and a capture file has what port p1 sends.
A flow's queue is known beforehand, and each frame has the time when it was made, so the
file says without any counter of ixyfwd what was lost, and for how long nothing came out
of what was made for the dead worker (`blackout`).
"""

import argparse
import json
import os
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path
from typing import Any

from ixyfwd.nic.flow import Flow
from ixyfwd.nic.rss import RssOptions, predict
from ixyfwd.supervisor.instances import EVENTS_FILE
from ixyfwd.supervisor.places import runtime_dir
from ixyfwd.traffic.flows import end_points
from ixyfwd.traffic.format import AT_FLOW, AT_SEQUENCE, AT_STAMP

CONFIG = """[instance]
name = "{name}"
[cpu]
workers = {workers}
share = true
[[port]]
name = "p0"
device = "sim:p0"
wire = {{ kind = "generator", rate = {rate}, flows = {flows} }}
[[port]]
name = "p1"
device = "sim:p1"
wire = {{ kind = "pcap", capture = "{capture}" }}
[[link]]
ports = ["p0", "p1"]
[forward]
engine = "{engine}"
{more}
"""
IXYFWD = (sys.executable, "-m", "ixyfwd")
FLOWS = 64
WAIT_S = 60.0
SETTLE_S = 0.3  # of traffic before and after
STAMP_MASK = 0xFFFFFFFF
PCAP_HEADER_BYTES = 24
RECORD_HEADER_BYTES = 16
PLACES = (AT_FLOW, AT_SEQUENCE, AT_STAMP)


class DrillError(Exception):
    """A count is wrong, or a run did not do what it should."""


@dataclass
class Trial:
    """One run under a drill."""

    workers: int
    engine: str
    rate: int
    folder: Path
    name: str = field(default_factory=lambda: f"drill-{os.getpid()}")
    more: str = ""
    killed_ns: int = 0  # CLOCK_MONOTONIC

    def __enter__(self) -> "Trial":
        self.capture = self.folder / "out.pcap"
        config = self.folder / "config.toml"
        config.write_text(
            CONFIG.format(
                name=self.name,
                workers=self.workers,
                rate=self.rate,
                flows=FLOWS,
                capture=self.capture,
                engine=self.engine,
                more=self.more,
            )
        )
        command = [*IXYFWD, "start", "-c", str(config), "--json"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.wait_for(lambda status: all(worker["rx_packets"] for worker in status["workers"]), "every worker forwards")
        time.sleep(SETTLE_S)
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=WAIT_S)
        (runtime_dir(self.name) / EVENTS_FILE).unlink(missing_ok=True)
        with suppress(OSError):
            runtime_dir(self.name).rmdir()

    def status(self) -> dict[str, Any] | None:
        """None if it does not run, or not yet."""
        command = [*IXYFWD, "status", "--json", "--instance", self.name]
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
        found: dict[str, Any] | None = json.loads(answer.stdout) if answer.returncode == 0 else None
        return found if found and found["state"] == "running" else None

    def wait_for(self, truth: Callable[[dict[str, Any]], object], what: str) -> dict[str, Any]:
        """The first status of which it is true. Raises DrillError."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            status = self.status()
            if status is not None and truth(status):
                return status
            if self.process.poll() is not None:
                raise DrillError(f"the run has ended: {self.process.communicate()[1].strip()}")
        raise DrillError(f"waited {WAIT_S:g} s for: {what}")

    def kill(self, workers: Sequence[int], number: signal.Signals) -> None:
        """Send a signal to the processes of some workers at once."""
        pids = [row["pid"] for row in self.wait_for(lambda _: True, "a status")["workers"]]
        self.killed_ns = time.monotonic_ns()
        for worker in workers:
            os.kill(pids[worker], number)

    def wait_until_back(self, workers: Sequence[int]) -> None:
        """Until the workers poll again, and for some traffic more."""

        def back(status: dict[str, Any]) -> bool:
            rows = [status["workers"][worker] for worker in workers]
            return all(row["restarts"] and row["state"] == "ready" for row in rows)

        self.wait_for(back, "the workers are back")
        time.sleep(SETTLE_S)

    def stop(self, code: int = 0) -> dict[str, Any]:
        """Stop in order; the final report. Raises DrillError for another exit code."""
        self.process.send_signal(signal.SIGTERM)
        out, err = self.process.communicate(timeout=WAIT_S)
        if self.process.returncode != code:
            raise DrillError(f"exit code {self.process.returncode}, expected {code}: {err.strip()}")
        report: dict[str, Any] = json.loads(out.splitlines()[-1])
        return report

    def back_ms(self) -> float | None:
        """From the death to the process in its place, as the run's events say; None without one."""
        command = [*IXYFWD, "events", "--json", "--instance", self.name]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        events = [json.loads(text) for text in lines]
        begun = max(event["number"] for event in events if event["state"] == "starting")
        texts = [event["text"] for event in events if event["state"] == "ready" and event["number"] > begun]
        return max((float(text.split(", ")[1].split(" ms")[0]) for text in texts), default=None)


@dataclass(frozen=True)
class Drill:
    """What is done to a run, and to which of its workers. `others`: whether some worker polls at all times."""

    text: str
    act: Callable[[Trial, Sequence[int]], dict[str, Any]]
    victims: Callable[[int], Sequence[int]] = lambda workers: (workers - 1,)
    workers: int | None = None  # else as asked for
    more: str = ""

    def others(self, workers: int) -> bool:
        return len(self.victims(workers)) < workers


def killed_by(number: signal.Signals) -> Callable[[Trial, Sequence[int]], dict[str, Any]]:
    def act(trial: Trial, victims: Sequence[int]) -> dict[str, Any]:
        trial.kill(victims, number)
        trial.wait_until_back(victims)
        return trial.stop()

    return act


def stopped_after(number: signal.Signals, code: int) -> Callable[[Trial, Sequence[int]], dict[str, Any]]:
    def act(trial: Trial, victims: Sequence[int]) -> dict[str, Any]:
        trial.kill(victims, number)
        return trial.stop(code)

    return act


DRILLS: Mapping[str, Drill] = {
    "killed": Drill("kill -9 of one worker", killed_by(signal.SIGKILL)),
    "killed-first": Drill("kill -9 of worker 0", killed_by(signal.SIGKILL), lambda _: (0,)),
    "crashed": Drill("SIGSEGV in one worker", killed_by(signal.SIGSEGV)),
    "held": Drill("SIGSTOP of one worker", killed_by(signal.SIGSTOP), more="[recovery]\nheld_s = 1"),
    "only-worker": Drill("kill -9 of the only worker", killed_by(signal.SIGKILL), workers=1),
    "all-workers": Drill("kill -9 of all workers at once", killed_by(signal.SIGKILL), range),
    "dead-at-stop": Drill("kill -9 of one worker, and a stop at once", stopped_after(signal.SIGKILL, 0)),
    "held-at-stop": Drill("SIGSTOP of one worker, and a stop at once", stopped_after(signal.SIGSTOP, 1)),
}


@dataclass(frozen=True)
class Frame:
    """A frame that came out. `made_ns`: when the generator made it, CLOCK_MONOTONIC."""

    flow: int
    sequence: int  # within its flow, from 0 on
    made_ns: int


def read_frames(path: Path) -> list[Frame]:
    """The frames in a capture file of the model, as they came.

    A frame has the low 32 bits of the time when it was made, which last 4 s; the file
    has the time at which it left (CLOCK_REALTIME, ns).
    """
    data = path.read_bytes()
    offset_ns = time.time_ns() - time.monotonic_ns()
    found, at = [], PCAP_HEADER_BYTES
    while at < len(data):
        seconds, nanoseconds, length = struct.unpack_from("<III", data, at)
        at += RECORD_HEADER_BYTES
        flow, sequence, stamp = (struct.unpack_from("<I", data, at + place)[0] for place in PLACES)
        left_ns = seconds * 10**9 + nanoseconds - offset_ns
        found.append(Frame(flow, sequence, left_ns - ((left_ns - stamp) & STAMP_MASK)))
        at += length
    return found


def queue_of(flow: int, workers: int) -> int:
    """The queue, and so the worker, of a flow of the generator while all workers poll."""
    source, destination, source_port, destination_port = end_points(flow)
    asked = Flow(IPv4Address(source), IPv4Address(destination), "udp", source_port, destination_port)
    return predict(asked, RssOptions(queues=workers)).queue


def by_flow(trial: Trial, frames: Sequence[Frame], victims: Sequence[int]) -> dict[str, Any]:
    """What became of the victims' flows and of the others'.

    `blackout_ms`: the longest time after the signal of which the victims' flows have no
    frame. `lost_by_others`: frames that are missing in the other flows. `reordered`:
    frames that came behind a later one of their flow.
    """
    flows = {flow for flow in range(FLOWS) if queue_of(flow, trial.workers) in victims}
    made = sorted(one.made_ns for one in frames if one.flow in flows and one.made_ns >= trial.killed_ns)
    gaps = [later - earlier for earlier, later in pairwise([trial.killed_ns, *made])]
    counts, ends = [0] * FLOWS, [0] * FLOWS
    reordered = 0
    for one in frames:
        counts[one.flow] += 1
        reordered += one.sequence + 1 < ends[one.flow]
        ends[one.flow] = max(ends[one.flow], one.sequence + 1)
    return {
        "blackout_ms": max(gaps) / 1e6 if gaps else None,
        "lost_by_others": sum(ends[flow] - counts[flow] for flow in range(FLOWS) if flow not in flows),
        "reordered": reordered,
    }


def check(report: Mapping[str, Any], out: int, others: bool) -> dict[str, Any]:
    """The sums of a run: ixyfwd's own, and those of the wires. Raises DrillError."""
    dropped = sum(report["drops"].values())
    missing = report["rx_packets"] - report["tx_packets"] - dropped - report["in_flight"]
    if missing or report["uncounted"] or report["faults"]:
        raise DrillError(f"the sum misses by {missing} frames, {report['faults']} faults")
    p0, p1 = (port["wire"]["totals"] for port in report["ports"])
    if out != p1["out"]:
        raise DrillError(f"{out} frames are in the capture file, {p1['out']} were sent")
    discarded = p0["in"] - out - dropped - report["in_flight"]
    if discarded < 0 or (discarded and others):
        raise DrillError(f"{p0['in']} frames went in, {out} came out, {dropped} were dropped: {discarded} are missing")
    return {"in": p0["in"], "out": out, "drops": {cause: n for cause, n in report["drops"].items() if n},
            "discarded": discarded}  # fmt: skip


def run_once(drill: Drill, options: argparse.Namespace) -> dict[str, Any]:
    """One run of a drill. Raises DrillError."""
    workers = drill.workers or options.workers
    victims = drill.victims(workers)
    with (
        tempfile.TemporaryDirectory(prefix="ixyfwd-drill-") as folder,
        Trial(workers, options.engine, options.rate, Path(folder), more=drill.more) as trial,
    ):
        report = drill.act(trial, victims)
        frames = read_frames(trial.capture)
        found = check(report, len(frames), drill.others(workers))
        return {**found, **by_flow(trial, frames, victims), "back_ms": trial.back_ms()}


def run_drill(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """The row of a drill: sums over its runs, medians of its times."""
    drill = DRILLS[name]
    row: dict[str, Any] = {"drill": name, "what": drill.text, "runs": options.runs, "error": None}
    found: list[dict[str, Any]] = []
    try:
        found.extend(run_once(drill, options) for _ in range(options.runs))
    except DrillError as error:
        row["error"] = str(error)
    for key in ("in", "out", "discarded", "lost_by_others", "reordered"):
        row[key] = sum(one[key] for one in found)
    causes = sorted({cause for one in found for cause in one["drops"]})
    row["drops"] = {cause: sum(one["drops"].get(cause, 0) for one in found) for cause in causes}
    for key in ("blackout_ms", "back_ms"):
        times = [one[key] for one in found if one[key] is not None]
        row[key] = [round(f(times), 1) for f in (statistics.median, min, max)] if times else None
    return row


def line(row: Mapping[str, Any]) -> str:
    """A row as text."""
    if row["error"]:
        return f"{row['drill']:<13} FAILED: {row['error']}"
    drops = ", ".join(f"{cause} {count:,}" for cause, count in row["drops"].items()) or "nothing"
    times = [
        f"{what} {median:g} ms ({least:g}-{most:g})"
        for what, key in (("blackout", "blackout_ms"), ("back after", "back_ms"))
        if row[key]
        for median, least, most in [row[key]]
    ]
    discarded = "".join(
        f", {key.replace('_', ' ')} {row[key]:,}" for key in ("discarded", "lost_by_others", "reordered") if row[key]
    )
    counts = f"in {row['in']:,}, out {row['out']:,}, dropped {drops}{discarded}"
    return f"{row['drill']:<13} {row['what']}: {counts}; {'; '.join(times) or 'no process took its place'}"


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="scripts/drills", description="Drills on the model, one line each.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(DRILLS)}; default: all")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")
    parser.add_argument("--runs", type=int, default=10, help="of each drill (10)")
    parser.add_argument("--workers", type=int, default=4, help="of each run, at least 2 (4)")
    parser.add_argument("--engine", default="native", help="native, vector or naive (native)")
    parser.add_argument("--rate", type=int, default=20_000, help="frames a second (20000)")
    options = parser.parse_args()
    wrong = [name for name in options.names if name not in DRILLS]
    if wrong or options.runs < 1 or not 2 <= options.workers <= 16:
        parser.error(f"no such drill: {', '.join(wrong)}" if wrong else "expected --runs 1 or more, --workers 2 to 16")
    rows = []
    for name in options.names or DRILLS:
        rows.append(run_drill(name, options))
        print(line(rows[-1]), file=sys.stderr if options.json else sys.stdout, flush=True)
    if options.json:
        print(json.dumps({"device": "model", "workers": options.workers, "engine": options.engine, "drills": rows}))
    return int(any(row["error"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
