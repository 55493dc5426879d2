"""Who gets which eventfd, which ports are refused, and that nothing is left."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from ixyfwd.errors import DeviceGoneError, RefusedError
from ixyfwd.supervisor.interrupts import Interrupts
from ixyfwd.supervisor.ports import Port
from tests.testing.driver_fake import FakeFunction
from tests.testing.plans import port_of, port_plan

EIMS = 0x880
INTERVAL_US = 20


class Msix(FakeFunction):
    """A function that delivers; `given` are the eventfds of each call."""

    def __init__(self, vectors: int) -> None:
        super().__init__()
        self.vectors = vectors
        self.given: list[tuple[int, ...]] = []

    def interrupt_vectors(self) -> int:
        return self.vectors

    def set_interrupts(self, eventfds: Sequence[int]) -> None:
        self._answer()
        self.given.append(tuple(eventfds))


def ports_of(*functions: FakeFunction) -> list[Port]:
    return [port_of(port_plan(f"p{n}", f"0000:0{n}:00.0", n), function) for n, function in enumerate(functions)]


def test_an_eventfd_for_every_port_and_worker() -> None:
    functions = [Msix(64), Msix(3)]
    ports = ports_of(*functions)
    with ExitStack() as stack:
        interrupts = Interrupts(INTERVAL_US, ports, 3, stack)
        every = [fd for worker in range(3) for fd in interrupts.of_worker(worker)]
        assert len(set(every)) == 6
        assert all(not os.get_blocking(fd) for fd in every)
        for port, function in zip(ports, functions, strict=True):
            interrupts.detach_with(stack, port)
            interrupts.attach(port)
            assert function.given == [interrupts.by_port[port.index]]
            assert (function.registers[0x820], function.registers[EIMS]) == (10 << 3, 7)
            assert interrupts.of_worker(2)[port.index] == function.given[0][2]
        stack.callback(lambda: [os.fstat(fd) for fd in every])  # still open when the ports let go of them
    assert [function.given[1:] for function in functions] == [[()], [()]]
    for fd in every:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)


def test_without_interrupts_nothing_is_touched() -> None:
    function = Msix(0)
    ports = ports_of(function)
    with ExitStack() as stack:
        interrupts = Interrupts(None, ports, 2, stack)
        interrupts.detach_with(stack, ports[0])
        interrupts.attach(ports[0])
        assert interrupts.of_worker(1) == ()
    assert function.given == [] and function.log == []


@pytest.mark.parametrize(
    ("vectors", "says"),
    [
        (
            0,
            r"to a process; .* ixyfwd bind 0000:01:00\.0 --driver vfio-pci; or use idle = \"adaptive\"",
        ),
        (3, r"it has 3 MSI-X vectors, expected one for each of 4 workers; set \[cpu\] workers to 3, or"),
    ],
)
def test_ports_that_cannot(vectors: int, says: str) -> None:
    functions: list[Any] = [Msix(64), Msix(vectors)]
    with (
        ExitStack() as stack,
        pytest.raises(RefusedError, match=r'^port p1 \(localhost:fake\): idle = "interrupt" is impossible: .*' + says),
    ):
        Interrupts(INTERVAL_US, ports_of(*functions), 4, stack)
    assert all(function.given == [] and function.log == [] for function in functions)


def test_a_port_that_has_gone_is_no_hindrance() -> None:
    function = Msix(64)
    ports = ports_of(function)
    with ExitStack() as stack:
        interrupts = Interrupts(INTERVAL_US, ports, 1, stack)
        interrupts.detach_with(stack, ports[0])
        interrupts.attach(ports[0])
        function.broken.no_answer = True
        with pytest.raises(DeviceGoneError):
            function.set_interrupts(())
    assert len(function.given) == 1
