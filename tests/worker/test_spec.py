"""What a worker is told of its ports: through JSON unchanged, and every kind of doorbell opened."""

import json
import mmap
import os
from contextlib import ExitStack

import pytest

from ixyfwd.engine.contract import CallBell, EnginePort, RegisterBell
from ixyfwd.errors import IxyfwdError
from ixyfwd.memory.layout import compute_layout
from ixyfwd.pci.function import DmaMap, Window
from ixyfwd.pci.mmio import map_window, register_view
from ixyfwd.roles.forward.order import Order
from ixyfwd.worker.spec import CallSpec, RegisterSpec, WorkerPortSpec, WorkerSpec

DMA = DmaMap(2 << 20, (1 << 40, 3 << 40))


def spec_of(*ports: WorkerPortSpec) -> WorkerSpec:
    layout = compute_layout(ports=len(ports), workers=1, ring_size=64, buffers_per_worker=256).workers[0]
    return WorkerSpec(
        index=0, cpu=None, nice=0, shared_cpu=True, arena_fd=9, arena_bytes=layout.size, layout=layout, ports=ports,
        engine="native", batch=32, idle="spin", order=Order(links=((0, 1), (1, 0))),
    )  # fmt: skip


def test_a_worker_of_two_families_is_told_of_both() -> None:
    window = Window(5, 0, 0x1000, 0x1000)
    notify = RegisterSpec(window, 0x1010, width_bytes=2, value=3)
    spec = spec_of(
        WorkerPortSpec("one", DMA, RegisterSpec(window, 0x1018), notify),
        WorkerPortSpec("other", DMA, CallSpec(7), CallSpec(8)),
    )
    assert WorkerSpec.from_json(json.loads(json.dumps(spec.as_json()))) == spec
    assert spec.inherited_fds() == (5, 7, 8, 9)


@pytest.mark.parametrize(("width", "format_"), [(1, "B"), (2, "H"), (4, "I"), (8, "Q")])
def test_a_doorbell_is_as_wide_as_its_register(width: int, format_: str) -> None:
    fd = os.memfd_create("bar")
    os.truncate(fd, mmap.PAGESIZE)
    window = Window(fd, 0, 0x3000, mmap.PAGESIZE)
    with ExitStack() as stack:
        view = stack.enter_context(map_window(window))
        bell = stack.enter_context(register_view(view, window, 0x3010, width))
        assert (len(bell), bell.format, bell.itemsize) == (1, format_, width)
        bell[0] = (1 << 8 * width) - 1
        with pytest.raises(ValueError, match="no register at BAR0"):
            register_view(view, window, 0x4000, width)
    assert os.pread(fd, 32, 0x08) == bytes(8) + b"\xff" * width + bytes(24 - width)
    os.close(fd)


@pytest.mark.parametrize(
    "bell", [CallBell(3), RegisterBell(memoryview(bytearray(2)).cast("H")), RegisterBell(memoryview(bytearray(4)), 1)]
)
def test_rings_that_want_a_tail_register_say_what_they_got(bell: CallBell | RegisterBell) -> None:
    with pytest.raises(IxyfwdError, match=r"of family ours is notified by .*; expected a 32-bit tail register"):
        _ = EnginePort("ours", DMA, bell, bell).rdt
