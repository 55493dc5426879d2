"""Running the real `ixyfwd` from a test: as a user would, in processes of its own."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import psutil

from ixyfwd.supervisor.events import Events
from ixyfwd.supervisor.instances import EVENTS_FILE
from ixyfwd.supervisor.places import runtime_dir
from ixyfwd.telemetry.schema import SCHEMA_FILE

ROOT = Path(__file__).resolve().parents[2]
HUGEPAGES = Path("/proc/sys/vm/nr_hugepages")
TIMEOUT_S = 60.0
IXYFWD = (sys.executable, "-m", "ixyfwd")


def eventually(condition: Callable[[], Any], what: str, timeout_s: float = 15.0) -> Any:
    """Wait for a truth; fails with `what` if it does not come."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"never came true: {what}")


def run(*arguments: str, timeout_s: float = TIMEOUT_S, **options: Any) -> subprocess.CompletedProcess[str]:
    """Any command, output captured."""
    return subprocess.run(arguments, capture_output=True, text=True, timeout=timeout_s, check=False, **options)


class Instance:
    """One named instance of ixyfwd."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._started: list[subprocess.Popen[str]] = []

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """`ixyfwd ARGUMENTS --instance NAME`, to its end."""
        return run(*IXYFWD, *arguments, "--instance", self.name)

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """`ixyfwd start ARGUMENTS` in the background; returns when it forwards."""
        process = self.launch(*arguments, **options)
        eventually(lambda: self.running() or process.poll() is not None, "the instance runs")
        if process.poll() is not None:
            out, err = process.communicate()
            raise AssertionError(f"ixyfwd start ended with {process.returncode}: {out}{err}")
        return process

    def launch(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """`ixyfwd start ARGUMENTS` in the background; how it ends is not judged."""
        command = [*IXYFWD, "start", "--instance", self.name, *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)
        self._started.append(process)
        return process

    def running(self) -> dict[str, Any] | None:
        """Its status if it forwards."""
        answer = self.command("status", "--json")
        if answer.returncode != 0:
            return None
        status: dict[str, Any] = json.loads(answer.stdout)
        check_schema(status, "status")
        return status if status["state"] == "running" else None

    def status(self) -> dict[str, Any]:
        """Its status; it must be running."""
        status = self.running()
        assert status is not None
        return status

    def clean_up(self) -> None:
        """Kill what is left of it."""
        for process in self._started:
            if process.poll() is None:
                for child in descendants(process.pid):
                    child.send_signal(signal.SIGKILL)
                process.kill()
            process.communicate()
        if self._started:
            (runtime_dir(self.name) / EVENTS_FILE).unlink(missing_ok=True)
            with suppress(OSError):
                runtime_dir(self.name).rmdir()


def last_object(output: str) -> dict[str, Any]:
    """The JSON object on the last line."""
    found: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return found


def report_of(output: str) -> dict[str, Any]:
    """The report or status on the last line, held against the published schema."""
    report = last_object(output)
    # Others are results of a bench, or the error of a command that did not get so far.
    if "schema" in report and not report["schema"].startswith("ixyfwd-bench-"):
        check_schema(report, report["schema"].split("-")[1])
    return report


def check_schema(document: dict[str, Any], kind: str) -> None:
    """It is what the published schema says of "status", "report", "generate", "capture" or "model"."""
    schema = _published_schema()
    assert document["schema"].startswith(f"ixyfwd-{kind}-")
    (part,) = [part for part in schema["$defs"].values() if _is_of(part, document["schema"])]
    # The part by itself: "is not valid under any of the given schemas" would not say why.
    found = jsonschema.Draft202012Validator({**part, "$defs": schema["$defs"]}).iter_errors(document)
    problems = [f"{problem.json_path}: {problem.message}" for problem in found]
    assert not problems, problems
    jsonschema.Draft202012Validator(schema).validate(document)


def _is_of(part: dict[str, Any], name: str) -> bool:
    return bool(part["properties"].get("schema") == {"const": name})


@cache
def _published_schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(SCHEMA_FILE.read_text())
    return schema


def start_for_report(*arguments: str, instance: str, exit_code: int = 0) -> dict[str, Any]:
    """`ixyfwd start --json ARGUMENTS` to its end; its report. It must end with `exit_code`."""
    done = run(*IXYFWD, "start", "--json", "--instance", instance, *arguments)
    assert done.returncode == exit_code, done.stdout + done.stderr
    return report_of(done.stdout)


def terminated_for_report(process: "subprocess.Popen[str]") -> dict[str, Any]:
    """SIGTERM to an `ixyfwd start --json`; its report, which must be that of a run without faults or missing frames."""
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    report = report_of(out)
    assert report["faults"] == 0
    assert_forwarded_sum(report)
    return report


def assert_forwarded_sum(report: dict[str, Any]) -> None:
    """Every frame that a forwarder received is in one place."""
    assert report["rx_packets"] == report["tx_packets"] + sum(report["drops"].values()) + report["in_flight"]
    assert (report.get("uncounted", 0), report.get("incomplete")) == (0, None)


def assert_sums(report: dict[str, Any]) -> None:
    """Every frame that a forwarder received is in one place, and so is every frame that a program of it was given."""
    assert_forwarded_sum(report)
    for row in report["programs"]:
        assert row["in"] == row["passed"] + row["out"] + row["invalid"] + sum(row["drops"].values())


def assert_generated_sum(report: dict[str, Any]) -> None:
    """Every frame that a generator was asked for is in one place."""
    assert report["asked"] == report["sent"] + sum(report["drops"].values()) + report["in_flight"]
    assert (report["uncounted"], report["incomplete"]) == (0, None)


def assert_captured_sum(report: dict[str, Any]) -> None:
    """Every frame that a capture received is in one place."""
    places = report["written"] + report["filtered"] + sum(report["drops"].values()) + report["in_flight"]
    assert report["received"] == places
    assert (report["uncounted"], report["incomplete"]) == (0, None)


def assert_exact(report: dict[str, Any]) -> None:
    """Every frame is in one place, the model has nothing to complain of, and the flows arrived as they left."""
    assert report["faults"] == 0, [port["faults"] for port in report["ports"]]
    assert report["error"] is None
    assert_forwarded_sum(report)
    workers_rx = sum(worker["rx_packets"] for worker in report["workers"])
    chip_drops = report["drops"]["rx_no_descriptor"] + report["drops"]["rx_missed"]
    # What is in flight is in an rx ring, not yet taken by a worker, or in a tx ring.
    assert 0 <= report["rx_packets"] - workers_rx - chip_drops <= report["in_flight"]
    if report["sink"] is not None:
        for trouble in ("reordered", "duplicated", "corrupted", "foreign"):
            assert report["sink"][trouble] == 0, report["sink"]
        assert report["sink"]["received"] == report["tx_packets"]
        assert report["sink"]["lost"] == sum(report["drops"].values()) + report["in_flight"]


def descendants(pid: int) -> list[psutil.Process]:
    """All processes below one."""
    return psutil.Process(pid).children(recursive=True)


@contextmanager
def without_descriptors() -> Iterator[None]:
    """No descriptor is left to this process; the limit lies just above those that are open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(map(int, os.listdir("/proc/self/fd")))
    fillers: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    try:
        with suppress(OSError):
            while len(fillers) <= most:
                fillers.append(os.dup(0))
        assert len(fillers) <= most
        yield
    finally:
        for fd in fillers:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def busy_with(cpu: int) -> "Iterator[subprocess.Popen[str]]":
    """A process that spins on `cpu`, and has begun to."""
    program = f"import os\nos.sched_setaffinity(0, {{{cpu}}})\nprint(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline()
            yield process
        finally:
            process.kill()


@cache
def interpreter_mib(engine: str) -> float:
    """Resident memory of an interpreter with a worker's modules and an open engine, and nothing done with it."""
    code = (
        "import resource, ixyfwd.worker.main\nfrom tests.testing.fake_nic import Rig\n"
        f"rig = Rig({engine!r})\n"
        "print(int(open('/proc/self/statm').read().split()[1]) * resource.getpagesize())"
    )
    done = run(sys.executable, "-c", code, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return int(done.stdout) / 2**20


def assert_lean(report: dict[str, Any]) -> None:
    """Its workers have little memory of their own beyond what Python and the engine take to be loaded."""
    limit_mib = 1.5 * interpreter_mib(report["engine"])
    for worker in report["workers"]:
        assert 0 < worker["rss_mib"] < limit_mib, (worker["rss_mib"], limit_mib)


def worker_pids(status: dict[str, Any]) -> list[int]:
    """Process ids of the workers in a status."""
    return [worker["pid"] for worker in status["workers"]]


def write_config(path: Path, text: str) -> str:
    """A configuration file; its name."""
    path.write_text(text)
    return str(path)


def config_text(wires: Sequence[str], forward: str = "", cpu: str = "", more: str = "") -> str:
    """A configuration of two linked `sim:` ports; `wires` are inline tables."""
    ports = "".join(f'[[port]]\nname = "p{i}"\ndevice = "sim:p{i}"\nwire = {wire}\n' for i, wire in enumerate(wires))
    return f'{ports}[[link]]\nports = ["p0", "p1"]\n[cpu]\n{cpu}\n[forward]\n{forward}\n{more}\n'


def no_events() -> Events:
    """A writer of events that has no place for them."""
    return Events(Path("/nonexistent"))


def environment(**changes: str) -> dict[str, str]:
    """This process's environment with changes."""
    return {**os.environ, **changes}
