"""A machine that does not give what a run needs: files, processes, CPU time, CPUs. Real limits and control groups."""

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ixyfwd.config.demand import Demand
from ixyfwd.config.load import load_config
from ixyfwd.errors import IxyfwdError
from ixyfwd.kit import outlet
from ixyfwd.kit.cgroups import groups
from ixyfwd.kit.tree import Tree
from ixyfwd.plan.make import MachineCpus, make_plan
from ixyfwd.supervisor.room import check_model_room, demand_of_plan, limits_that_bind
from tests.testing.support import IXYFWD, ROOT, Instance, environment, report_of, run, write_config

BLOCKS = re.findall(r"^```sh\n(.*?)^```$", (ROOT / "docs/limits.md").read_text(), re.MULTILINE | re.DOTALL)
WIRE = '{ kind = "generator", flows = 16, rate = 1e4 }'
LIMITED = """
import os, resource, sys
soft, hard = int(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
os.execv(sys.executable, [sys.executable, "-m", "ixyfwd", *sys.argv[3:]])
"""
JOINED = """
import os, sys
folder = sys.argv[1]
open(folder + "/cgroup.procs", "w").write(str(os.getpid()))
os.execv(sys.executable, [sys.executable, "-m", "ixyfwd", *sys.argv[2:]])
"""


def topology(ports: int, workers: int, idle: str = "adaptive") -> str:
    """A configuration of pairs of linked ports; [cpu] workers is in line 2."""
    text = f'[cpu]\nworkers = {workers}\n[forward]\nidle = "{idle}"\nring_size = 64\n'
    for i in range(ports):
        text += f'[[port]]\nname = "p{i}"\ndevice = "sim:p{i}"\nwire = {WIRE}\n'
    return text + "".join(f'[[link]]\nports = ["p{i}", "p{i + 1}"]\n' for i in range(0, ports, 2))


def demand(config: str) -> Demand:
    return demand_of_plan(make_plan(load_config(config), MachineCpus(sorted(os.sched_getaffinity(0)))))


def with_files(soft: int, hard: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-c", LIMITED, str(soft), str(hard), *arguments)


@pytest.mark.parametrize(
    ("ports", "workers", "idle"),
    [(2, 1, "adaptive"), (2, 4, "interrupt"), (4, 1, "adaptive"), (4, 2, "interrupt"), (6, 3, "adaptive")],
)
def test_as_many_files_as_the_plan_says_are_enough(
    instance: Instance, tmp_path: Path, ports: int, workers: int, idle: str
) -> None:
    config = write_config(tmp_path / "c.toml", topology(ports, workers, idle))
    least = demand(config).files
    start = ("start", "-c", config, "--duration", "0.5", "--json", "--instance", instance.name)
    done = with_files(least, least, *start)
    assert done.returncode == 0, done.stdout + done.stderr
    assert report_of(done.stdout)["notices"] == report_of(with_files(8192, 8192, *start).stdout)["notices"]
    refused = with_files(least - 1, least - 1, *start)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"ixyfwd: {config}:2: cpu.workers: found {workers} worker")
    assert f"need {least} open files where {least - 1} are allowed" in refused.stderr
    rows = run(sys.executable, "-c", LIMITED, str(least - 1), str(least - 1), "doctor", "-c", config)
    assert rows.returncode == 1
    assert f"wanted: at least {least}\n" in rows.stdout


@pytest.mark.parametrize("files", [8, 12, 18])
@pytest.mark.parametrize("command", ["start", "generate", "capture", "model", "doctor", "status"])
def test_few_files_are_a_sentence(tmp_path: Path, instance: Instance, files: int, command: str) -> None:
    """Whatever the command, and however early they run out."""
    arguments = {
        "start": ("--duration", "0.3", "--instance", instance.name),
        "generate": ("sim:p0", "--duration", "0.3"),
        "capture": ("sim:p0", "--duration", "0.3"),
        "model": ("--port", str(tmp_path / "s"), "--wire", "none", "--duration", "0.3"),
        "doctor": (),
        "status": ("--instance", instance.name),
    }[command]
    done = with_files(files, files, command, *arguments)
    assert "bug in ixyfwd" not in done.stderr
    assert "Traceback" not in done.stderr
    if command not in {"doctor", "status"}:
        assert done.returncode in {1, 2}, done.stderr
        assert "open files" in done.stderr
        assert f"{files} are allowed" in done.stderr


def test_a_low_soft_limit_is_raised(instance: Instance) -> None:
    """It is a default, and nobody's decision."""
    done = with_files(12, 4096, "start", "--duration", "0.3", "--instance", instance.name)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def group(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A control group of a controller, of version 1 or 2."""
    controller: str = request.param
    own = groups(Tree(), controller)
    if not own:
        pytest.skip(f"no control group has the controller {controller} here")
    found = Path(own[-1]) / f"ixyfwd-test-{os.getpid()}"
    try:
        found.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here ({error.strerror})")
    yield found
    found.rmdir()


def inside(group: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-c", JOINED, str(group), *arguments)


def set_limit(group: Path, files: Sequence[tuple[str, str]]) -> None:
    """Write the first of the files that is there."""
    for name, text in files:
        if (group / name).exists():
            (group / name).write_text(text)
            return
    pytest.skip(f"the controller is not enabled below {group.parent}")


@pytest.mark.root
@pytest.mark.parametrize("group", ["pids"], indirect=True)
def test_few_processes(group: Path, instance: Instance, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml", topology(2, 2))
    least = 1 + demand(config).processes
    start = ("start", "-c", config, "--duration", "0.3", "--instance", instance.name)
    set_limit(group, [("pids.max", str(least))])
    done = inside(group, *start)
    assert done.returncode == 0, done.stderr
    for most in range(1, least):
        set_limit(group, [("pids.max", str(most))])
        done = inside(group, *start)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith(
            f"ixyfwd: {config}:2: cpu.workers: found 2 workers and 2 ports, which need 5 more "
        )
        assert f"{most} are allowed and 1 are there ({group}/pids.max)" in done.stderr
    doctor = inside(group, "doctor", "-c", config)
    assert doctor.returncode == 1
    assert f"fix: echo {least} > {group}/pids.max" in doctor.stdout


@pytest.mark.root
@pytest.mark.parametrize("group", ["cpu"], indirect=True)
def test_a_quota_is_said_and_obeyed(group: Path, instance: Instance, tmp_path: Path) -> None:
    set_limit(group, [("cpu.max", "50000 100000"), ("cpu.cfs_quota_us", "50000")])
    config = write_config(tmp_path / "c.toml", topology(2, 1))
    cpus = demand(config).cpus
    below = group / "below"
    below.mkdir()
    try:  # what a group above says binds as well
        for place in (group, below):
            start = ("start", "-c", config, "--duration", "0.5", "--json", "--instance", instance.name)
            done = inside(place, *start)
            assert done.returncode == 0, done.stderr
            said = f"the control group may use 0.5 CPUs and the run polls on {cpus}: "
            (notice,) = [text for text in report_of(done.stdout)["notices"] if text.startswith(said)]
            assert str(group) in notice
            doctor = inside(place, "doctor", "-c", config)
            assert doctor.returncode == 0
            lift = re.search(rf"0\.5 CPUs .*\n.*\n +fix: (echo \S+ > {group}\S+)\n", doctor.stdout)
            assert lift, doctor.stdout
    finally:
        below.rmdir()
    assert lift is not None
    assert run("sh", "-c", lift[1]).returncode == 0
    assert "CPU quota              none" in inside(group, "doctor", "-c", config).stdout


@pytest.mark.root
@pytest.mark.parametrize("group", ["cpuset"], indirect=True)
@pytest.mark.parametrize("key", ["workers", "main", "model"])
@pytest.mark.parametrize("isolated", [False, True])
def test_a_cpuset_without_a_cpu_that_the_configuration_names(
    group: Path, instance: Instance, tmp_path: Path, key: str, isolated: bool
) -> None:
    """Isolated CPUs are in nobody's affinity, but a process may go there; not where the cpuset has them not."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("needs two CPUs")
    for name, text in (("cpuset.mems", "0"), ("cpuset.cpus", str(cpus[0]))):
        set_limit(group, [(name, text)])
    value = f'"{cpus[1]}"' if key == "workers" else str(cpus[1])
    config = write_config(tmp_path / "c.toml", f"[cpu]\n{key} = {value}\n")
    (tmp_path / "isolated").write_text(str(cpus[1]) if isolated else "")
    script = f'mount --bind {tmp_path}/isolated /sys/devices/system/cpu/isolated && exec "$@"'
    joined = ("unshare", "-m", "sh", "-c", script, "sh", sys.executable, "-c", JOINED, str(group))
    for command in (("start", "--duration", "0.3", "--instance", instance.name), ("doctor",)):
        done = run(*joined, *command, "-c", config)
        assert done.returncode == 2, done.stderr
        found = f"{config}:2: cpu.{key}: found CPU {cpus[1]}, which this process may not use, expected CPUs of its "
        assert f"{found}affinity ({cpus[0]}; see `taskset -p $$` and {group}/cpuset." in done.stderr
    done = run(*joined, "doctor")
    assert (f"not CPU {cpus[1]}" in done.stdout) is isolated
    # Outside of the group, the isolated CPU may be named though it is in no affinity.
    free = ("unshare", "-m", "sh", "-c", script, "sh", "taskset", "-c", str(cpus[0]), *IXYFWD)
    done = run(*free, "start", "-c", config, "--duration", "0.3", "--instance", instance.name)
    assert done.returncode == (0 if isolated else 2), done.stderr


@pytest.mark.root
@pytest.mark.parametrize("group", ["memory"], indirect=True)
def test_little_memory(group: Path, instance: Instance) -> None:
    """More than the control group may have would end in a killed process, not in an error."""
    set_limit(group, [("memory.max", str(256 << 20)), ("memory.limit_in_bytes", str(256 << 20))])
    program = "from ixyfwd.memory.arena import create_arena; create_arena(300 << 20, 'plain')"
    done = run(sys.executable, "-c", JOINED.replace('"-m", "ixyfwd"', '"-c"'), str(group), program)
    assert done.returncode == 1, done.stderr
    assert re.search(r"cannot get 300 MiB of memory for the arena, (1\d\d|2[0-5]\d) MiB are available", done.stderr)
    done = inside(group, "start", "--duration", "0.3", "--instance", instance.name)
    assert done.returncode == 0, done.stderr


def test_a_user_with_few_processes_left() -> None:
    class Small(Tree):
        """Where `ulimit -u` is as low as can be."""

        def text(self, path: str) -> str:
            if path == "/proc/self/limits":
                return "Max open files  9 9 files\nMax processes  1 1 processes"
            text = super().text(path)
            return re.sub(r"CapEff:\t\w+", "CapEff:\t0", text) if path == "/proc/self/status" else text

    found = list(limits_that_bind(Small(), Demand(files=10, processes=2, cpus=1)))
    wanted = (r"10 open files where 9 are allowed", r"2 more processes .*\(ulimit -u\)")
    assert all(re.match(pattern, one) for pattern, one in zip(wanted, found, strict=True))
    with pytest.raises(IxyfwdError, match=r"2 ports need .* open files where 9 are allowed"):
        check_model_room(2, Small())


def test_a_text_is_written_where_no_thread_is_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(self: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", none)
    reader, writer = os.pipe()
    found = outlet.Outlet(writer)
    found.patience_s = 0.05
    assert found.write("hello\n") == 6
    assert os.read(reader, 100) == b"hello\n"
    os.set_blocking(writer, False)
    while True:
        try:
            os.write(writer, bytes(4096))
        except BlockingIOError:
            break
    with pytest.raises(outlet.UnreadError):
        found.write("nobody reads\n")
    os.close(reader)
    with pytest.raises(outlet.OutputError):
        found.write("nobody is there\n")
    os.close(writer)


def test_this_process_keeps_its_limit() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert not list(limits_that_bind(Tree(), Demand(files=1, processes=0, cpus=1)))
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


@pytest.mark.parametrize("commands", BLOCKS)
def test_commands_of_the_page(commands: str) -> None:
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    done = run("bash", "-euc", commands, env=environment(PATH=path))
    assert done.returncode == 0, done.stderr
    assert "exit code 2" in done.stdout
    assert "open files where 18 are allowed" in done.stderr
