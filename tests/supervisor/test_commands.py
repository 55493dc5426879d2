"""What the commands of the control socket do to a run when they fail."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ixyfwd.config.schema import PortConfig
from ixyfwd.errors import DeviceTimeoutError
from ixyfwd.supervisor.instance import Instance
from ixyfwd.supervisor.observer import Silent
from ixyfwd.supervisor.serve import Server
from ixyfwd.supervisor.signals import StopSignals
from ixyfwd.supervisor.state import Forwarder
from ixyfwd.telemetry.snapshot import Snapshot
from tests.testing.driver_fake import FakeFunction
from tests.testing.plans import plan_of, port_of
from tests.testing.support import no_events


class Run:
    """A supervisor's loop without workers, and its clients."""

    def __init__(self, server: Server, forwarder: Forwarder, instance: Instance) -> None:
        self.server = server
        self.forwarder = forwarder
        self._path = str(instance.socket("control"))

    def asked(self, command: str) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(self._path)
        client.settimeout(10)
        client.sendall(json.dumps({"do": command}).encode() + b"\n")
        return client


def answer(client: socket.socket) -> Any:
    return json.loads(client.recv(65536))


@pytest.fixture
def run(runtime: Path) -> Iterator[Run]:
    function = FakeFunction()
    plan = plan_of(PortConfig("a", function.address))
    forwarder = Forwarder(plan, [port_of(plan.ports[0], function)], [], None, [], 0, no_events())
    with (
        closing(Instance("commands")) as instance,
        StopSignals() as signals,
        Server(forwarder, instance, signals) as server,
    ):
        yield Run(server, forwarder, instance)


class Told(Silent):
    """Remembers notices; stops the run after the first tick."""

    def __init__(self, run: Run) -> None:
        self.notices: list[str] = []
        self.ticks = 0
        self._run = run

    def notice(self, text: str) -> None:
        self.notices.append(text)
        self._run.asked("stop").close()

    def tick(self, status: Snapshot) -> None:
        self.ticks += 1


def test_a_mistake_in_a_command_is_an_answer_and_a_notice_and_the_run_goes_on(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = run.forwarder.status

    def broken_once() -> Snapshot:
        monkeypatch.setattr(run.forwarder, "status", status)
        raise KeyError("worker")

    monkeypatch.setattr(run.forwarder, "status", broken_once)
    told = Told(run)
    with run.asked("status") as client:
        reason = run.server.serve(told, None, False)
        assert answer(client) == {"error": "the command 'status' failed: KeyError: 'worker'"}
    assert reason.why == "stop command" and reason.error is None
    assert told.notices == ["the command 'status' failed: KeyError: 'worker'"] == run.forwarder.notices
    assert told.ticks == 1


def test_a_device_that_does_not_answer_is_waited_for_once_and_ends_the_run(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Waiting takes seconds: the clients that ask meanwhile get the same answer at once."""
    waits: list[None] = []

    def silent(turn_s: float) -> None:
        waits.append(None)
        raise DeviceTimeoutError("port a: no answer within 2 s")

    monkeypatch.setattr(run.forwarder, "read_ports", silent)
    clients = [run.asked("status") for _ in range(5)]
    run.server.dispatch(0)
    run.server.dispatch(0)
    reason = run.server.serve(Silent(), None, False)
    assert [answer(client) for client in clients] == [{"error": "port a: no answer within 2 s"}] * 5
    assert (reason.why, reason.error) == ("failure", "port a: no answer within 2 s")
    assert len(waits) == 1
    for client in clients:
        client.close()


def test_inject_without_a_model_is_refused(run: Run) -> None:
    with run.asked("inject") as client:
        run.server.interrupted()
        run.server.interrupted()
        assert "simulated ports only" in answer(client)["error"]
