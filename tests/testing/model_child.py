"""The model as the process that the supervisor starts, and a driver of a few lines for it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ixyfwd.errors import RefusedError
from ixyfwd.model.spec import ModelSpec, PortSpec
from ixyfwd.model.wires.contract import Wire
from ixyfwd.model.wires.none import NoWire
from ixyfwd.pci.function import Function
from ixyfwd.pci.mmio import map_window, register_view, unmap_window
from ixyfwd.pci.open import open_function
from tests.testing.support import eventually

RING = 64
BUFFER_BYTES = 2048
BUFFERS_AT = 0x10000
ARENA_BYTES = 2 << 20
ENABLE = 1 << 25


class Process:
    """A model process and the line it said when it was ready, or not."""

    def __init__(self, spec: Any, **options: Any) -> None:
        self.spec_fd = memory_of(json.dumps(spec).encode())
        ready, ready_fd = os.pipe()
        command = [sys.executable, "-m", "ixyfwd.model", "--spec-fd", str(self.spec_fd), "--ready-fd", str(ready_fd)]
        self.child = subprocess.Popen(
            command, pass_fds=(self.spec_fd, ready_fd), stderr=subprocess.PIPE, text=True, **options
        )
        os.close(self.spec_fd)
        os.close(ready_fd)
        with os.fdopen(ready) as pipe:
            self.words: dict[str, Any] = json.loads(pipe.readline() or "{}")

    def end(self) -> tuple[int, str]:
        """Exit code and stderr."""
        error = self.child.communicate(timeout=10)[1]
        return self.child.returncode, error


def memory_of(data: bytes) -> int:
    fd = os.memfd_create("spec")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def make_spec(folder: Path, *wires: Wire, cpu: int | None = None) -> ModelSpec:
    ports = tuple(
        PortSpec(f"p{n}", str(folder / f"p{n}.sock"), f"02:00:00:00:00:0{n}", wire) for n, wire in enumerate(wires)
    )
    return ModelSpec(ports, str(folder / "control.sock"), cpu, share_cpu=True)


Start = Callable[..., tuple[Process, ModelSpec]]


@contextmanager
def model_processes(folder: Path) -> Iterator[Start]:
    """Model processes with their sockets in a folder; those that still run at the end are killed."""
    started: list[Process] = []

    def start(*wires: Wire, cpu: int | None = None, **options: Any) -> tuple[Process, ModelSpec]:
        spec = make_spec(folder, *(wires or (NoWire(), NoWire())), cpu=cpu)
        process = Process(spec.as_json(), **options)
        started.append(process)
        return process, spec

    try:
        yield start
    finally:
        for process in started:
            if process.child.poll() is None:
                process.child.kill()
            process.child.communicate()


class HandDriver:
    """Queue 0 of one port, buffers in a memory file of its own. Nothing of the real driver is used."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.arena = os.memfd_create("arena")
        os.ftruncate(self.arena, ARENA_BYTES)
        self.dma = function.map_dma(self.arena, ARENA_BYTES)
        eventually(lambda: function.read32(0x42A4) & 1 << 30, "link up")
        function.set_bus_master(True)

    def write(self, offset: int, *values: int) -> None:
        for n, value in enumerate(values):
            self.function.write32(offset + 4 * n, value)

    def receive(self) -> None:
        """Advanced descriptors, one buffer each, everything promiscuous."""
        for n in range(RING):
            address = self.dma.address(BUFFERS_AT + n * BUFFER_BYTES)
            os.pwrite(self.arena, address.to_bytes(8, "little") + bytes(8), 16 * n)
        ring = self.dma.address(0)
        self.write(0x5080, 0x700)
        self.write(0x2F00, self.function.read32(0x2F00) | 2)
        self.write(0x1000, ring & 0xFFFFFFFF, ring >> 32, 16 * RING)
        self.write(0x1014, 0x02000402)
        self.write(0x3000, 1)
        self.write(0x1028, ENABLE)
        assert self.function.read32(0x1028) & ENABLE

    def transmit(self, frame: bytes) -> None:
        """One frame from descriptor 0 of the tx ring."""
        ring = self.dma.address(0x4000)
        os.pwrite(self.arena, frame, 0x8000)
        words = (self.dma.address(0x8000), len(frame) | 0x2B300000 | (len(frame) << 14) << 32)
        os.pwrite(self.arena, b"".join(word.to_bytes(8, "little") for word in words), 0x4000)
        self.write(0x6000, ring & 0xFFFFFFFF, ring >> 32, 16 * RING)
        self.write(0x4A80, self.function.read32(0x4A80) | 1)
        self.write(0x6028, ENABLE)
        assert self.function.read32(0x6028) & ENABLE
        self.ring_bell(0x6018, 1)

    def ring_bell(self, offset: int, tail: int) -> None:
        """Through the mapped page, as a worker does."""
        window = self.function.window(offset, 4)
        assert window
        view = map_window(window)
        register_view(view, window, offset)[0] = tail
        unmap_window(view)

    def received(self, n: int) -> bytes | None:
        """The frame in buffer n, once descriptor n says done."""
        status = int.from_bytes(os.pread(self.arena, 8, 16 * n + 8), "little")
        if not status & 1:
            return None
        assert status & 2, "end of packet"
        return os.pread(self.arena, status >> 32 & 0xFFFF, BUFFERS_AT + n * BUFFER_BYTES)

    def close(self) -> None:
        self.function.close()
        os.close(self.arena)


def drivers(spec: ModelSpec) -> list[HandDriver]:
    return [HandDriver(open_function(f"vfio-user:{port.socket}")) for port in spec.ports]


def connect_if_free(spec: ModelSpec) -> HandDriver | None:
    try:
        return HandDriver(open_function(f"vfio-user:{spec.ports[0].socket}"))
    except RefusedError:
        return None
