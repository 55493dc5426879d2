"""What all tests share: who may run, and how a test talks to a real ixyfwd."""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from ixyfwd.supervisor.places import InstancePlace
from tests.testing.fake_nic import KINDS, MakeRig
from tests.testing.phases import assign_markers
from tests.testing.running import Make, Running
from tests.testing.support import HUGEPAGES, Instance

# Hypothesis measures time in two places; on a machine that is busy with something else both fail for no fault here.
settings.register_profile("no-clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no-clock")


def pytest_configure() -> None:
    """Give every command that a test starts the usual disposition of the signals that end one.

    In the background of a shell the tests inherit an ignored SIGINT, below `nohup` an ignored SIGHUP, and so would the
    commands. A signal that has a handler is reset by exec; the handlers keep what the caller meant.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need root say so and are skipped with that reason elsewhere; CI runs as root."""
    assign_markers(items)
    if os.geteuid() == 0:
        return
    for item in items:
        if item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root (TAP, network namespaces, hugepages)"))


@pytest.fixture
def instance(request: pytest.FixtureRequest) -> Iterator[Instance]:
    """An instance name of this test's own; whatever still runs under it at the end is killed."""
    found = Instance(f"t{os.getpid()}-{abs(hash(request.node.name)) % 10**6}")
    yield found
    found.clean_up()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A private directory with a short name: Unix sockets live in it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as found:
        yield Path(found)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes commands that run for a while; what is left of them is killed."""
    with ExitStack() as stack:

        def one(command: str) -> Running:
            running = Running(command, tmp_path, f"s{os.getpid()}-{command}")
            stack.enter_context(running.stack)
            return running

        yield one


@pytest.fixture(params=KINDS)
def make_rig(request: pytest.FixtureRequest) -> MakeRig:
    """A worker's memory with fake devices, of each engine in each of its modes."""
    kind: str = request.param
    return KINDS[kind]


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Run-time directories below a temporary one with a short name, because of the sockets in them."""
    with tempfile.TemporaryDirectory(dir="/tmp") as base:
        run = Path(base) / "run"
        for module in ("places", "instance", "instances", "events"):
            monkeypatch.setattr(f"ixyfwd.supervisor.{module}.places", lambda: (InstancePlace(run),))
        yield run


@pytest.fixture
def hugepages() -> Iterator[int]:
    """At least 64 free 2 MiB pages, put back afterwards; yields the number that is free."""
    before = int(HUGEPAGES.read_text())
    HUGEPAGES.write_text(str(before + 64))
    from ixyfwd.memory.hugepages import hugepages_free

    free = hugepages_free()
    if free < 64:
        HUGEPAGES.write_text(str(before))
        pytest.fail(f"this machine gave only {free} of 64 hugepages")
    yield free
    HUGEPAGES.write_text(str(before))


@pytest.fixture(scope="session")
def _builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def builds(_builds: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of `bench compare`, one for all tests and for this process's children."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(_builds))
    return _builds
