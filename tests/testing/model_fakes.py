"""A data path that moves nothing but remembers what it was told, and a model that runs on it in a thread."""

import mmap
import os
import select
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ixyfwd.model.chip.profiles import build_register_map, profile_of
from ixyfwd.model.chip.table_counters import SOURCES
from ixyfwd.model.port import SimulatedPort
from ixyfwd.model.process import Model
from ixyfwd.model.spec import ModelSpec, PortSpec
from ixyfwd.model.wires.contract import Wire
from ixyfwd.model.wires.none import NoWire

STORE_BYTES = 512 * 1024
RUNS = {"qprc": 16, "qbrc": 16, "qprdc": 16, "qptc": 16, "qbtc": 16, "rxmpc": 8}
MAC = "02:11:22:33:44:55"


def fresh_counters() -> SimpleNamespace:
    """Every counter that a register shows, at 0."""
    names = {source.counter for source in SOURCES.values()}
    return SimpleNamespace(**{name: [0] * RUNS[name] if name in RUNS else 0 for name in names})


class FakePort:
    """`calls` lists what happened as tuples; heads are what a test sets."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.store_fd = os.memfd_create(f"fake-{name}", os.MFD_CLOEXEC)
        os.ftruncate(self.store_fd, STORE_BYTES)
        self._mapping = mmap.mmap(self.store_fd, STORE_BYTES)
        self.store = memoryview(self._mapping).cast("I")
        self.stats = fresh_counters()
        self.calls: list[tuple[Any, ...]] = []
        self.maps: dict[tuple[int, int], tuple[int, bool, bool]] = {}
        self.running: set[tuple[str, int]] = set()
        self.heads: dict[tuple[str, int], int] = {}
        self.takes_heads = True
        self.refuses_to_start = False
        self.flow_director_full = False
        self.bus_master = False
        self.link = True
        self.tail_mapped = False
        self.feeding = False
        self.wire: Wire | None = None
        self.causes = (0, 0)
        self.wanted: tuple[bool, int, int] = (False, 0, 0)

    def want_causes(self, on: bool, urgent_rx: int = 0, urgent_tx: int = 0) -> None:
        self.wanted = (on, urgent_rx, urgent_tx)

    def take_causes(self) -> tuple[int, int]:
        found, self.causes = self.causes, (0, 0)
        return found

    def map_dma(  # noqa: PLR0917 - as the real one
        self, iova: int, size: int, fd: int, offset: int, readable: bool, writable: bool
    ) -> None:
        if (iova | size | offset) % 4096:
            raise ValueError("not multiples of 4096")
        if os.fstat(fd).st_size < offset + size:
            raise ValueError("beyond the end of the file")
        self.maps[iova, size] = offset, readable, writable

    def unmap_dma(self, iova: int, size: int) -> None:
        del self.maps[iova, size]

    def unmap_all(self) -> None:
        self.calls.append(("unmap_all",))
        self.maps.clear()

    def set_bus_master(self, on: bool) -> None:
        self.bus_master = on

    def reconfigure(self) -> None:
        self.calls.append(("reconfigure",))

    def _start(self, kind: str, queue: int) -> bool:
        self.calls.append((f"start_{kind}", queue))
        if self.refuses_to_start:
            return False
        self.running.add((kind, queue))
        return True

    def start_rx(self, queue: int) -> bool:
        return self._start("rx", queue)

    def start_tx(self, queue: int) -> bool:
        return self._start("tx", queue)

    def stop_rx(self, queue: int) -> None:
        self.running.discard(("rx", queue))

    def set_reta_entries(self, entries: int) -> None:
        self.calls.append(("reta_entries", entries))

    def force_drop(self, queue: int, on: bool) -> None:
        self.calls.append(("force_drop", queue, on))

    def init_flow_director(self) -> None:
        self.calls.append(("init_flow_director",))

    def command_flow_director(self) -> bool:
        self.calls.append(("command_flow_director",))
        return self.flow_director_full

    def stop_tx(self, queue: int) -> None:
        self.running.discard(("tx", queue))

    def tail_written(self, rx: bool, queue: int) -> None:
        self.calls.append(("tail", "rx" if rx else "tx", queue))

    def head_written(self, rx: bool, queue: int) -> bool:
        return self.takes_heads

    def rx_head(self, queue: int) -> int:
        return self.heads.get(("rx", queue), 0)

    def tx_head(self, queue: int) -> int:
        return self.heads.get(("tx", queue), 0)

    def set_tail_mapped(self, on: bool) -> None:
        self.tail_mapped = on

    def set_link(self, up: bool) -> None:
        self.link = up

    def reset(self) -> None:
        self.calls.append(("reset", frozenset(self.maps)))
        self.running.clear()

    def faults(self) -> Any:
        return SimpleNamespace(total=0, by_kind={"dma_unmapped": 0}, recent=())

    def plug(self, wire: Wire, mac: str | None = None) -> None:
        self.wire = wire

    def start_feed(self) -> None:
        self.feeding = True

    def stop_feed(self) -> None:
        self.feeding = False

    @property
    def wire_gone(self) -> bool:
        return False

    def wire_stats(self) -> dict[str, Any]:
        return {"kind": self.wire.kind if self.wire else None}

    def feed_done(self) -> bool:
        return not self.feeding

    def close(self) -> None:
        self.store.release()
        self._mapping.close()
        os.close(self.store_fd)


class FakeDatapath:
    """Waits on the epoll descriptor as the real one would between two frames."""

    def __init__(self, names: Sequence[str]) -> None:
        self.ports = tuple(FakePort(name) for name in names)

    def run(self, epoll_fd: int, budget_ns: int, share_cpu: bool) -> None:
        select.select([epoll_fd], [], [], budget_ns / 1e9)

    def flow_queues(self) -> dict[int, tuple[int, ...]]:
        return {3: (1, 2)}

    def close(self) -> None:
        for port in self.ports:
            port.close()


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.ns = 1_000_000_000

    def __call__(self) -> int:
        return self.ns


class Bench:
    """One port on a fake data path, registers by name."""

    def __init__(self, device_id: int = 0x10FB, offer_mmap: bool = True, module: bool = True) -> None:
        self.map = build_register_map(profile_of(device_id))
        self.datapath = FakePort("p0")
        self.clock = Clock()
        spec = PortSpec("p0", "/unused", MAC, NoWire(), device_id, offer_mmap, module)
        self.port = SimulatedPort(spec, self.datapath, self.map, self.clock)  # type: ignore[arg-type]

    def at(self, name: str, index: int = 0) -> int:
        """Offset of a register."""
        return self.map.named[name, index].word * 4

    def read(self, name: str, index: int = 0) -> int:
        return self.read_at(self.at(name, index))

    def write(self, name: str, value: int, index: int = 0) -> None:
        self.write_at(self.at(name, index), value)

    def read_at(self, offset: int) -> int:
        return int.from_bytes(self.port.region_read(0, offset, 4), "little")

    def write_at(self, offset: int, value: int) -> None:
        self.port.region_write(0, offset, value.to_bytes(4, "little"))

    def config(self, offset: int, count: int) -> int:
        return int.from_bytes(self.port.region_read(7, offset, count), "little")

    def write_config(self, offset: int, count: int, value: int) -> None:
        self.port.region_write(7, offset, value.to_bytes(count, "little"))

    def pass_ms(self, milliseconds: int) -> None:
        """Let time pass and the port notice."""
        self.clock.ns += milliseconds * 1_000_000
        self.port.tick()

    def misuses(self) -> list[str]:
        """What the port has complained of."""
        faults = self.port.faults()
        assert faults["total"] == len(faults["recent"]) == sum(faults["by_kind"].values())
        return [entry["detail"] for entry in faults["recent"]]


@contextmanager
def running_model(folder: Path, offer_mmap: bool = True) -> Iterator[tuple[FakeDatapath, ModelSpec]]:
    """Ports p0 and p1 served by a thread of this process."""
    ports = tuple(
        PortSpec(f"p{n}", str(folder / f"p{n}.sock"), f"02:00:00:00:00:0{n}", NoWire(), offer_mmap=offer_mmap)
        for n in range(2)
    )
    spec = ModelSpec(ports, str(folder / "control.sock"), share_cpu=True)
    datapath = FakeDatapath([port.name for port in ports])
    with Model(spec, datapath) as model:  # type: ignore[arg-type]
        thread = threading.Thread(target=model.run)
        thread.start()
        try:
            yield datapath, spec
        finally:
            model.quit()
            thread.join(10)
            assert not thread.is_alive()
    datapath.close()
