"""System calls on a Python that was built without them, as conda's and uv's are."""

import ast
import ctypes
import errno
import fcntl
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from ixyfwd.errors import IxyfwdError
from ixyfwd.kit import children, syscalls
from tests.testing.support import IXYFWD, ROOT, Instance, config_text, run, start_for_report, write_config

ABSENT = {
    "os": ("memfd_", "pidfd_", "eventfd", "MFD_", "EFD_"),
    "fcntl": ("F_ADD_SEALS", "F_GET_SEALS", "F_SEAL_"),
    "signal": ("pidfd_",),
}
POOR = f"""
import importlib
for module, prefixes in {ABSENT!r}.items():
    module = importlib.import_module(module)
    for name in [name for name in vars(module) if name.startswith(prefixes)]:
        delattr(module, name)
"""


@pytest.fixture
def poor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every Python that is started from now on is a poor one."""
    folder = tmp_path / "poor"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(POOR)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    assert run(sys.executable, "-c", "import os; os.memfd_create").returncode == 1
    return folder


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    """This Python is one."""
    for name in ("memfd_create", "pidfd_open", "eventfd"):
        monkeypatch.delattr(os, name)


def test_a_run_without_them(poor: Path, tmp_path: Path, instance: Instance) -> None:
    wire = '{ kind = "generator", flows = 4, rate = 1e5, count = 2000 }'
    for forward in ("", 'idle = "interrupt"', 'engine = "vector"'):
        config = write_config(tmp_path / "c.toml", config_text([wire, wire], forward, "workers = 1"))
        report = start_for_report("-c", config, "--until-done", instance=instance.name)
        assert report["rx_packets"] == 4000


def test_the_model_alone_without_them(poor: Path, tmp_path: Path) -> None:
    place = tmp_path / "card"
    arguments = ("--port", f"sysfs:{place}", "--wire", "none", "--duration", "0.5", "--json")
    done = run(*IXYFWD, "model", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_calls_do_the_same(lacking: None) -> None:
    fd = syscalls.memfd_create("x", syscalls.CLOEXEC | syscalls.ALLOW_SEALING)
    os.ftruncate(fd, 4096)
    syscalls.seal_size(fd)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    assert not os.get_inheritable(fd)
    os.close(fd)
    event = syscalls.eventfd()
    os.write(event, (3).to_bytes(8, "little"))
    assert int.from_bytes(os.read(event, 8), "little") == 3
    assert not os.get_inheritable(event)
    with pytest.raises(BlockingIOError):
        os.read(event, 8)
    os.close(event)
    with subprocess.Popen(["true"]) as process:
        pidfd = syscalls.pidfd_open(process.pid)
        assert select.select([pidfd], [], [], 10)[0]
        os.close(pidfd)
    with pytest.raises(OSError, match=r"\[Errno \d+\]"):
        syscalls.pidfd_open(-1)


@pytest.mark.skipif(not hasattr(fcntl, "F_ADD_SEALS"), reason="this Python has no such constants")
def test_the_numbers_are_pythons() -> None:
    assert syscalls.CLOEXEC == os.MFD_CLOEXEC
    assert syscalls.ALLOW_SEALING == os.MFD_ALLOW_SEALING
    assert syscalls.HUGETLB == os.MFD_HUGETLB
    assert syscalls.HUGE_2MB == os.MFD_HUGE_2MB
    assert syscalls._F_ADD_SEALS == fcntl.F_ADD_SEALS
    assert (syscalls._SEAL_SEAL, syscalls._SEAL_SHRINK) == (fcntl.F_SEAL_SEAL, fcntl.F_SEAL_SHRINK)
    assert syscalls._SEAL_GROW == fcntl.F_SEAL_GROW
    assert syscalls._EVENT_FLAGS == os.EFD_NONBLOCK | os.EFD_CLOEXEC


def test_an_old_c_library_and_an_old_kernel_are_said(lacking: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        """A C library whose `syscall` finds a kernel that knows nothing."""

        def syscall(self, *arguments: object) -> int:
            ctypes.set_errno(errno.ENOSYS)
            return -1

    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Old())
    with pytest.raises(IxyfwdError, match=r"has memfd_create; glibc 2\.27"):
        syscalls.memfd_create("x")
    with pytest.raises(IxyfwdError, match=r"kernel has no pidfd_open; Linux 5\.3"):
        syscalls.pidfd_open(os.getpid())


def test_a_child_that_cannot_be_watched_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.listdir("/proc/self/fd")
    asked: list[int] = []

    def none_left(pid: int) -> int:
        asked.append(pid)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(children, "pidfd_open", none_left)
    with pytest.raises(OSError, match="Too many open files"):
        children.Child("it", lambda *_: ["-c", "import time; time.sleep(600)"], {})
    assert not Path(f"/proc/{asked[0]}").exists()
    assert os.listdir("/proc/self/fd") == before


def test_no_other_module_takes_them_from_python() -> None:
    """A name that some builds lack is an AttributeError there, in the middle of a run."""
    found = []
    for path in sorted((ROOT / "ixyfwd").rglob("*.py")):
        if path.name == "syscalls.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
                continue
            prefixes = ABSENT.get(node.value.id, ())
            found += [f"{path}: {node.value.id}.{node.attr}" for prefix in prefixes if node.attr.startswith(prefix)]
    assert not found
