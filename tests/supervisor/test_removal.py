"""The kernel asks for a device of a run: the run ends, and the sentence says which port and why."""

import os
from collections.abc import Iterator

import pytest

from ixyfwd.config.schema import PortConfig
from ixyfwd.supervisor.instance import Instance
from ixyfwd.supervisor.observer import Silent
from ixyfwd.supervisor.serve import Server
from ixyfwd.supervisor.signals import StopSignals
from ixyfwd.supervisor.state import Forwarder
from tests.testing.driver_fake import FakeFunction
from tests.testing.plans import plan_of, port_of
from tests.testing.support import no_events


@pytest.fixture
def function() -> Iterator[FakeFunction]:
    found = FakeFunction()
    found.address = "0000:03:00.0"
    found.removal_fd = os.eventfd(0, os.EFD_CLOEXEC)
    yield found
    os.close(found.removal_fd)


def forwarder_of(function: FakeFunction) -> Forwarder:
    plan = plan_of(PortConfig("a", function.address))
    return Forwarder(plan, [port_of(plan.ports[0], function)], [], None, [], 0, no_events())


@pytest.mark.usefixtures("runtime")
def test_a_run_gives_way_to_the_kernel(function: FakeFunction) -> None:
    forwarder = forwarder_of(function)
    instance = Instance("removal")
    with StopSignals() as signals, Server(forwarder, instance, signals) as server:
        assert not server.interrupted()
        os.eventfd_write(function.removal_fd, 1)
        assert server.interrupted()
        reason = server.serve(Silent(), None, False)
    instance.close()
    assert reason.why == "failure" and reason.error is not None
    assert reason.error.startswith("port a (0000:03:00.0): the kernel wants the device back: ")


@pytest.mark.usefixtures("runtime")
def test_a_port_that_does_not_answer_is_named(function: FakeFunction) -> None:
    """The ways to a device know its address and not which port it is."""
    forwarder = forwarder_of(function)
    function.broken.no_answer = True
    instance = Instance("removal")
    with StopSignals() as signals, Server(forwarder, instance, signals) as server:
        reason = server.serve(Silent(), 5, False)
    instance.close()
    assert reason.error == f"port a: {function.address}: the server closed the connection"
