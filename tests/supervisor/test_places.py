"""Where an instance is found: in a shell, under cron, su, a unit, in namespaces; and that a name runs once."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ixyfwd.errors import IxyfwdError, RefusedError
from ixyfwd.supervisor import places
from ixyfwd.supervisor.instance import Instance
from ixyfwd.supervisor.places import InstancePlace, real_user, runtime_dir
from tests.testing.support import IXYFWD, environment, eventually, report_of, run
from tests.testing.support import Instance as Running

Arrange = Callable[..., None]
CRON = {"PATH": "/usr/bin:/bin", "HOME": "/", "SHELL": "/bin/sh", "LOGNAME": "root"}
ENVIRONMENTS = {
    "shell": {"XDG_RUNTIME_DIR": "/run/user/0", "TMPDIR": "/var/tmp"},
    "another user's session": {"XDG_RUNTIME_DIR": "/tmp"},
    "cron": {},
}


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory with a short name, because of the sockets below it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as found:
        yield Path(found)


@pytest.fixture
def arrange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Arrange:
    """Have the places that are named, the first ones first; "-" before a name: it cannot be written."""

    def have(*names: str, lasting: tuple[str, ...] = ("c",)) -> None:
        found = tuple(InstancePlace(tmp_path / name, name in lasting) for name in names)
        for module in ("places", "instance", "instances"):
            monkeypatch.setattr(f"ixyfwd.supervisor.{module}.places", lambda: found)

    return have


def test_nothing_of_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    found = set()
    for session in ("", f"/run/user/{os.geteuid()}", "/tmp", "relative"):
        monkeypatch.setenv("XDG_RUNTIME_DIR", session)
        monkeypatch.setenv("TMPDIR", session)
        found.add(
            tuple(place.base for place in places.places() if str(place.base).startswith(("/run/", "/tmp/ixyfwd-")))
        )
    assert len(found) == 1
    (fixed,) = found
    assert fixed[-1] == Path(f"/tmp/ixyfwd-{real_user()}")
    assert (fixed[0] == Path("/run/ixyfwd")) == (real_user() == 0)


@pytest.mark.parametrize(
    ("user", "table", "found"),
    [
        (1000, "0 0 4294967295\n", 1000),
        (0, "0 1000 1\n", 1000),
        (3, "0 1000 1\n1 100000 65536\n", 100002),
        (65534, "", 65534),
        (5, "what?\n", 5),
    ],
)
def test_the_user_outside_of_a_namespace(monkeypatch: pytest.MonkeyPatch, user: int, table: str, found: int) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(Path, "read_text", lambda self: table)
    assert real_user() == found


def test_a_name_runs_once_wherever_it_began(arrange: Arrange, tmp_path: Path) -> None:
    """A place that the first one had may not be there for the second, and the other way round."""
    arrange("a", "c")
    with held("x") as first:
        assert first.dir == tmp_path / "a/x"
        assert runtime_dir("x") == tmp_path / "a/x"
        for seen in (("a", "c"), ("c",), ("c", "a"), ("b", "c"), ("b", "a", "c")):
            arrange(*seen)
            with pytest.raises(RefusedError, match=rf"already running as pid {os.getpid()} "):
                Instance("x")
        arrange("c", "a")
        (tmp_path / "a/x/control.sock").touch()
        assert runtime_dir("x") == tmp_path / "a/x"
    assert not list(tmp_path.glob("*/x"))


def test_the_end_of_a_session_lets_no_second_one_begin(arrange: Arrange, tmp_path: Path) -> None:
    """logind removes /run/user/UID with all that is in it."""
    arrange("a", "c")
    with held("x"):
        (tmp_path / "a").rename(tmp_path / "gone")
        with pytest.raises(RefusedError, match="already running"):
            Instance("x")


def test_who_fell_back_is_found_by_who_need_not(arrange: Arrange, tmp_path: Path) -> None:
    arrange("c")
    with held("x"):
        (tmp_path / "c/x/control.sock").touch()
        arrange("b", "c", lasting=("b", "c"))
        assert runtime_dir("x") == tmp_path / "c/x"
        with pytest.raises(RefusedError, match="already running"):
            Instance("x")
    assert not (tmp_path / "b/x").exists()


def test_what_a_killed_one_left_is_not_taken_for_running(arrange: Arrange, tmp_path: Path) -> None:
    arrange("a", "c")
    for name in "ac":
        (tmp_path / name).mkdir(mode=0o700)
        (tmp_path / name / "x").mkdir(mode=0o700)
        (tmp_path / name / "x/lock").write_text("pid 1 (ixyfwd)\n")
        (tmp_path / name / "x/control.sock").touch()
    with held("x") as found:
        (found.dir / "control.sock").touch()
        assert runtime_dir("x") == found.dir == tmp_path / "a/x"


def test_the_next_place_is_taken_and_said(arrange: Arrange, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("no directory")
    arrange("a", "c")
    with held("x") as found:
        assert found.dir == tmp_path / "c/x"
        assert found.notice == (
            f"{tmp_path}/a is not a directory that only this user can write; the run-time directory is {tmp_path}/c/x"
        )


def test_a_lock_in_a_directory_of_others_is_not_believed(arrange: Arrange, tmp_path: Path) -> None:
    """Anybody can make /tmp/ixyfwd-0 and hold a lock there."""
    arrange("c")
    with held("x"):
        (tmp_path / "c").chmod(0o777)
        arrange("b", "c", lasting=("b",))
        Instance("x").close()


def test_no_place_at_all(arrange: Arrange, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    arrange("a")
    with pytest.raises(RefusedError, match=r"no run-time directory can be had: .*/a is not a directory"):
        Instance("x")
    arrange("none/a")
    with pytest.raises(IxyfwdError, match="no run-time directory can be had"):
        Instance("x")


@contextmanager
def held(name: str) -> Iterator[Instance]:
    found = Instance(name)
    try:
        yield found
    finally:
        found.close()


@pytest.mark.root
@pytest.mark.parametrize("begun", ENVIRONMENTS)
def test_status_finds_it_from_every_environment(instance: Running, begun: str) -> None:
    instance.start(env={**CRON, **ENVIRONMENTS[begun]})
    for asking in ENVIRONMENTS.values():
        status = run(*IXYFWD, "status", "--instance", instance.name, env={**CRON, **asking})
        assert status.returncode == 0, status.stderr
        second = run(*IXYFWD, "start", "--duration", "1", "--instance", instance.name, env={**CRON, **asking})
        assert second.returncode == 3, second.stderr
        assert "already running" in second.stderr
    stop = run(*IXYFWD, "stop", "--instance", instance.name, env=CRON)
    assert stop.returncode == 0, stop.stderr


@pytest.mark.root
def test_a_run_directory_that_cannot_be_written(instance: Running) -> None:
    """As in a unit with ProtectSystem=strict. It falls back, says where, and is one name with those outside."""
    read_only = (
        "unshare",
        "-m",
        "sh",
        "-c",
        'mount --bind /run /run && mount -o remount,ro,bind /run && exec "$@"',
        "sh",
    )
    start = (*IXYFWD, "start", "--json", "--instance", instance.name)
    done = run(*read_only, *start, "--duration", "0.2")
    assert done.returncode == 0, done.stderr
    said = "/run/ixyfwd cannot be used (Read-only file system); the run-time directory is /tmp/ixyfwd-0/"
    assert [text for text in report_of(done.stdout)["notices"] if text.startswith(said)]
    # Each finds the other, whoever began.
    with running(*read_only, *start) as inside:
        eventually(lambda: run(*IXYFWD, "status", "--instance", instance.name).returncode == 0, "it is found outside")
        assert run(*start, "--duration", "0.2").returncode == 3
        assert run(*IXYFWD, "stop", "--instance", instance.name).returncode == 0
        assert inside.wait(30) == 0
    with running(*start):
        eventually(instance.running, "it runs")
        assert run(*read_only, *start, "--duration", "0.2").returncode == 3
        assert run(*read_only, *IXYFWD, "status", "--instance", instance.name).returncode == 0
        assert run(*read_only, *IXYFWD, "stop", "--instance", instance.name).returncode == 0


@contextmanager
def running(*command: str) -> "Iterator[subprocess.Popen[str]]":
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


AS_NOBODY = """
set -e
mkdir -p "$1/python" && mount --bind "$2" "$1/python"
mount -t tmpfs -o mode=755 none "$3" && mkdir -p "$2" && mount --move "$1/python" "$2"
mount -t tmpfs -o mode=1777 none /tmp
shift 3
exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
"""


@pytest.mark.root
@pytest.mark.parametrize("namespace", [(), ("unshare", "-r")], ids=["itself", "as root of a user namespace"])
def test_an_ordinary_user_in_a_session_and_as_root_of_a_namespace(
    tmp_path: Path, instance: Running, namespace: tuple[str, ...]
) -> None:
    """An instance that a user starts in one of them is found in the other."""
    if namespace and run(*namespace, "true").returncode != 0:
        pytest.skip("user namespaces are not available here")
    top = "/".join(sys.base_prefix.split("/")[:2])  # perhaps closed to others, as /root is
    ask = " ".join((*IXYFWD, "status", "--instance", instance.name))
    start = " ".join((*namespace, *IXYFWD, "start", "--json", "--duration", "20", "--instance", instance.name))
    stop = " ".join((*IXYFWD, "stop", "--instance", instance.name))
    script = f"""
    {start} & until {ask} 2>/dev/null; do sleep 0.1; kill -0 $!; done
    ls -d /tmp/ixyfwd-*/*
    XDG_RUNTIME_DIR=/tmp {start} && exit 9 || echo second $?
    unshare -r {stop} && wait $!
    """
    command = ("unshare", "-m", "sh", "-c", AS_NOBODY, "sh", str(tmp_path), sys.base_prefix, top, "sh", "-ec", script)
    done = run(*command, env=environment(HOME="/"), cwd="/")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"/tmp/ixyfwd-65534/{instance.name}\n" in done.stdout
    assert "second 3\n" in done.stdout
