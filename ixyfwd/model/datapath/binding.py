"""The model's data path as Python sees it: rings, DMA, MAC and wires of every port, worked by C in `run`.

Nothing here is called while `run` is at work: one process, one thread, no locks. Queue numbers are 0..127.
"""

import errno
import mmap
import os
from collections.abc import Sequence
from typing import Any

from ixyfwd.errors import UsageError
from ixyfwd.kit.syscalls import ALLOW_SEALING, CLOEXEC, memfd_create, seal_size
from ixyfwd.model.datapath._datapath import ffi, lib
from ixyfwd.model.datapath.fault_records import FaultReport, read_report
from ixyfwd.model.wires.contract import Jack, Plug, Pointer, Wire

STORE_BYTES = 512 * 1024
QUEUES = 128
MAX_PORTS = 32
WORD = 2**64 - 1


class DatapathPort:
    """One port. `store` is the register file, uint32[131072]: BAR0's 512 KiB, backed by the memfd `store_fd`."""

    name: str
    store: memoryview
    store_fd: int
    stats: Any
    """The counters of datasheet 8.2.3.23 as 64-bit numbers that only grow, by lower-case datasheet name.

    Scalars: prc64 prc127 prc255 prc511 prc1023 prc1522 gprc bprc mprc gorc tor tpr rxnfgpc rxnfgbc roc ruc rfc rjc
    crcerrs rlec mspdc xec rxdgpc rxdgbc gptc gotc tpt mptc bptc ptc64 ptc127 ptc255 ptc511 ptc1023 ptc1522 txdgpc
    txdgbc fdirmatch fdirmiss lxontxc lxofftxc lxonrxcnt lxoffrxcnt.
    Arrays (index them): rxmpc[8] qprc[16] qbrc[16] qprdc[16] qptc[16] qbtc[16]. Not of the chip, for
    accounts that close: rx_filtered rx_mac_control (pause frames and the like, which end in the MAC) rx_off (RXEN=0)
    rx_queue_off rx_dma_dropped tx_dropped, and rx_waiting: frames in the packet buffer now.
    """

    injected: Any
    """`struct dp_inject`; `inject_changed` after a change."""

    def __init__(self, datapath: "Datapath", handle: Pointer, index: int, name: str) -> None:
        """Made by `Datapath` only."""
        self.name = name
        self.index = index
        self._datapath = datapath
        self._plug: Plug | None = None
        self._wire: Wire | None = None
        self.store_fd = memfd_create(f"ixyfwd-bar0-{name}", CLOEXEC | ALLOW_SEALING)
        os.ftruncate(self.store_fd, STORE_BYTES)
        # Clients are given this file; one that cut it short would end the process with SIGBUS.
        seal_size(self.store_fd)
        memory = mmap.mmap(self.store_fd, STORE_BYTES)
        self.store = memoryview(memory).cast("I")
        self._pinned = ffi.from_buffer(memory)  # C keeps the address
        self._handle = lib.dp_port(handle, index, self._pinned)
        if not self._handle:
            raise MemoryError
        self.stats = lib.dp_port_stats(self._handle)
        self._causes = lib.dp_port_causes(self._handle)
        self.injected = lib.dp_port_inject(self._handle)

    # Memory that the device reaches

    def map_dma(  # noqa: PLR0917  # the fields of vfio-user's DMA_MAP, in its order
        self, iova: int, size: int, fd: int, offset: int, readable: bool, writable: bool
    ) -> None:
        """Map `size` bytes of `fd` at device address `iova`. The descriptor stays the caller's.

        Raises ValueError (not multiples of 4096, empty, beyond 2^64 or beyond the end of the file),
        FileExistsError (overlaps a mapping), OSError (mmap refused).
        """
        text = f"DMA mapping of {size:#x} bytes at {iova:#x}"
        if not (0 <= iova < 2**64 and 0 < size < 2**63 and 0 <= offset < 2**63):
            raise ValueError(f"{text}, file offset {offset:#x}: out of range")
        result = -lib.dp_map(self._handle, iova, size, fd, offset, readable, writable)
        if result == errno.EINVAL:
            raise ValueError(f"{text}, file offset {offset:#x}: expected multiples of 4096 within 64 bits")
        if result == errno.ERANGE:
            raise ValueError(f"{text}: the file ends before {offset + size:#x}")
        if result == errno.EEXIST:
            raise FileExistsError(errno.EEXIST, f"{text} overlaps another")
        if result:
            raise OSError(result, f"{text}: {os.strerror(result)}")

    def unmap_dma(self, iova: int, size: int) -> None:
        """Take back the mapping of exactly `size` bytes that starts at `iova`. Raises LookupError if there is none."""
        known = 0 <= iova < 2**64 and 0 < size < 2**64
        if not known or lib.dp_unmap(self._handle, iova, size):
            raise LookupError(f"no DMA mapping of {size:#x} bytes at {iova:#x}")

    def unmap_all(self) -> None:
        """Take back every mapping."""
        lib.dp_unmap_all(self._handle)

    def set_bus_master(self, on: bool) -> None:
        """Command register bit 2: without it no DMA at all."""
        lib.dp_set_bus_master(self._handle, on)

    # Interrupts

    def want_causes(self, on: bool, urgent_rx: int = 0, urgent_tx: int = 0) -> None:
        """Note write-backs by queue from now on, or no more; those of `urgent` queues (a bit each) end `run` early."""
        causes = self._causes
        causes.wanted = on
        for word in range(2):
            causes.rx[word] = causes.rx[word] if on else 0
            causes.tx[word] = causes.tx[word] if on else 0
            causes.urgent_rx[word] = urgent_rx >> 64 * word & WORD
            causes.urgent_tx[word] = urgent_tx >> 64 * word & WORD

    def take_causes(self) -> tuple[int, int]:
        """Queues with rx write-backs, and with tx write-backs that RS asked for, since the last call: a bit each."""
        causes = self._causes
        rx = causes.rx[0] | causes.rx[1] << 64
        tx = causes.tx[0] | causes.tx[1] << 64
        if rx or tx:
            causes.rx[0] = causes.rx[1] = causes.tx[0] = causes.tx[1] = 0
        return rx, tx

    # Misbehaviour on demand

    def inject_changed(self) -> None:
        """Have `injected` take effect; what is no longer withheld is written back at once."""
        lib.dp_inject_changed(self._handle)

    # Registers and queues

    def reconfigure(self) -> None:
        """Have MAC, filter, RSS, CRC, statistics-map and enable registers read from `store` again at the next `run`.

        Canonical offsets only: the writer of the store mirrors aliases. Cheap enough for a call after every write.
        """
        lib.dp_reconfigure(self._handle)

    def start_rx(self, queue: int) -> bool:
        """Latch RDBAL/H, RDLEN, RDH, SRRCTL, RXDCTL.VME. False and a `ring_invalid` fault if they are unusable."""
        return bool(lib.dp_start_rx(self._handle, _queue(queue)))

    def stop_rx(self, queue: int) -> None:
        """Stop; buffers that the device held are the driver's again."""
        lib.dp_stop_rx(self._handle, _queue(queue))

    def force_drop(self, queue: int, on: bool) -> None:
        """PFQDE: drop what finds no descriptors, as with SRRCTL.DROP_EN. A reset forgets it."""
        lib.dp_force_drop(self._handle, _queue(queue), on)

    def init_flow_director(self) -> None:
        """FDIRCTRL is in `store`: the flow director starts with an empty table, or is off (PBALLOC 0)."""
        lib.dp_fdir_init(self._handle)

    def command_flow_director(self) -> bool:
        """FDIRCMD, and what it works on, is in `store`; the answer is there too. True: its interrupt is due."""
        return bool(lib.dp_fdir_command(self._handle))

    def start_tx(self, queue: int) -> bool:
        """Latch TDBAL/H, TDLEN, TDH, TDWBAL/H. False and a `ring_invalid` fault if they are unusable."""
        return bool(lib.dp_start_tx(self._handle, _queue(queue)))

    def stop_tx(self, queue: int) -> None:
        """Stop after the packet at work."""
        lib.dp_stop_tx(self._handle, _queue(queue))

    def tail_written(self, rx: bool, queue: int) -> None:
        """A trapped write to RDT/TDT; the value is in `store`."""
        lib.dp_tail_written(self._handle, rx, _queue(queue))

    def head_written(self, rx: bool, queue: int) -> bool:
        """A trapped write to RDH/TDH; the value is in `store`.

        Taken over (True) while nothing has been fetched since the queue was started, or when it changes nothing.
        """
        return bool(lib.dp_head_written(self._handle, rx, _queue(queue)))

    def rx_head(self, queue: int) -> int:
        """RDH. Also stored into `store` at the end of every `run` while the queue is started."""
        return lib.dp_rx_head(self._handle, _queue(queue))

    def tx_head(self, queue: int) -> int:
        """TDH. Also stored into `store` at the end of every `run` while the queue is started."""
        return lib.dp_tx_head(self._handle, _queue(queue))

    def set_reta_entries(self, entries: int) -> None:
        """The size of the redirection table: 128, or 512 on an X550."""
        lib.dp_set_reta_entries(self._handle, entries)
        self.reconfigure()

    def set_tail_mapped(self, on: bool) -> None:
        """True: tails are levels in `store`. False: only `tail_written` counts."""
        lib.dp_set_tail_mapped(self._handle, on)

    def set_link(self, up: bool) -> None:
        """Link down: nothing moves either way. Up at the start."""
        lib.dp_set_link(self._handle, up)

    def reset(self) -> None:
        """Stop everything and forget queue state; DMA mappings, the wire, the link and statistics stay.

        Registers are read again at the next `run`.
        """
        lib.dp_reset(self._handle)

    def faults(self) -> FaultReport:
        """What the driver did wrong."""
        return read_report(lib.dp_port_faults(self._handle))

    # The wire

    def plug(self, wire: Wire, mac: str | None = None) -> None:
        """Plug a wire in, once; feeding is off until `start_feed`. `mac`: destination of a generator's frames.

        Raises IxyfwdError (UsageError, RefusedError) with one sentence: TAP refused, file missing or not a capture...
        """
        if self._wire:
            raise UsageError(f"port {self.name}: a {self._wire.kind} wire is plugged in already")
        address = bytes.fromhex(mac.replace(":", "")) if mac else None
        try:
            self._plug = wire.attach(
                Jack(lib, ffi, self._handle, self.index, address, lambda to: self._datapath.far_end(self, to))
            )
        except UsageError as error:
            raise UsageError(f"port {self.name}: {error}") from None
        self._wire = wire

    def start_feed(self) -> None:
        """Let the wire's frames in. What the port sends is always taken."""
        if self._plug:
            self._plug.begin()
        lib.dp_feed(self._handle, True)

    def restart_latency(self) -> None:
        """A sink forgets the latencies so far, those of warming up."""
        if self._plug:
            self._plug.restart_latency()

    def stop_feed(self) -> None:
        """Hold the wire's frames back; a capture file is flushed."""
        lib.dp_feed(self._handle, False)
        self.flush_wire()

    def flush_wire(self) -> None:
        """What the wire has to do outside C; `run` calls it."""
        if self._plug:
            self._plug.flush()

    def wire_stats(self) -> dict[str, Any]:
        """The account of the wire, ready for JSON.

        `kind`, then

        `totals` {in, out, shortfall} in frames (into the port, out of it, owed to the rate and never sent); `error`,
        a sentence or None; `notices`, a list of sentences;
        generator: `generator` {flows, rate, sent, sent_bytes, shortfall}, `sink` {received, bytes, lost, reordered,
        duplicated, corrupted, foreign, touched, flows_seen, flows_on_several_queues, latency_ns {p50, p90, p99, p999,
        p9999, p99999, max, count, sampled_every, buckets}}; tap: interface, received, sent, ...
        send_errors, interface_down;
        pcap: `replay` and `capture`, each a dict or None; cable: sent, received and bytes; none: sent and bytes.
        Sent and received are the wire's view: a generator sends into the port, a TAP has received from the kernel.
        """
        if not self._plug or not self._wire:
            return {"kind": "none"}
        into_port, from_port, shortfall = self._plug.totals()
        totals = {"in": into_port, "out": from_port, "shortfall": shortfall}
        told = {"error": self._plug.error(), "notices": list(self._plug.notices())}
        return {"kind": self._wire.kind, "totals": totals, **told, **self._plug.stats()}

    @property
    def wire_gone(self) -> bool:
        """Whether what the wire led to is gone for good."""
        return self._plug is not None and self._plug.gone()

    def feed_done(self) -> bool:
        """True if the wire has nothing more to send: a finite count is reached, or the wire is no source."""
        return bool(lib.dp_feed_done(self._handle))

    def queues_of_flow(self, flow: int) -> tuple[int, ...]:
        """Tx queues of this port that a generator flow came out of, whichever port's generator sent it."""
        return self.flow_queues().get(flow, ())

    def flow_queues(self) -> dict[int, tuple[int, ...]]:
        """The queues of each flow that was seen, by the number of the flow."""
        return self._plug.flow_queues() if self._plug else {}

    def unplug(self) -> None:
        """Let go of the wire's files and interfaces and of the register store's descriptor; for `Datapath.close`."""
        if self._plug:
            self._plug.close()
        if self.store_fd >= 0:
            os.close(self.store_fd)
            self.store_fd = -1

    @property
    def handle(self) -> Pointer:
        """The C side of this port, for the data path's own modules."""
        return self._handle

    @property
    def cable_to(self) -> str | None:
        """Name of the port at the other end of a cable."""
        return self._datapath.cables.get(self.name)


def _queue(queue: int) -> int:
    if not 0 <= queue < QUEUES:
        raise ValueError(f"queue {queue}: expected 0 to {QUEUES - 1}")
    return queue


class Datapath:
    """All ports of one model process."""

    ports: tuple[DatapathPort, ...]

    def __init__(self, ports: Sequence[str]) -> None:
        """One port for each name, at most 32. Raises UsageError for a name used twice or too many ports."""
        if len(set(ports)) != len(ports) or not 1 <= len(ports) <= MAX_PORTS:
            raise UsageError(f"ports {', '.join(ports)}: expected 1 to {MAX_PORTS} different names")
        self.cables: dict[str, str] = {}  # port: the port its cable leads to
        self._handle = lib.dp_new(len(ports))
        if not self._handle:
            raise MemoryError
        self.ports = tuple(DatapathPort(self, self._handle, index, name) for index, name in enumerate(ports))

    def run(self, epoll_fd: int, budget_ns: int, share_cpu: bool) -> None:
        """Turn all ports for up to `budget_ns`; returns at once when `epoll_fd` (-1: none) becomes readable.

        `share_cpu`: give the CPU away when nothing moves; the budget may then be overrun by a sleep of 1 ms.
        """
        lib.dp_run(self._handle, epoll_fd, budget_ns, share_cpu)
        for port in self.ports:
            port.flush_wire()

    def far_end(self, port: DatapathPort, to: str) -> Pointer:
        """Note that a cable leads from `port` to the port named `to`; returns that one's C side. Raises UsageError."""
        found = next((other for other in self.ports if other.name == to and other is not port), None)
        if found is None:
            raise UsageError(f"the cable leads to {to!r}; expected another port of this model")
        if self.cables.get(to, port.name) != port.name:
            raise UsageError(f"the cable leads to {to}, but the cable there leads to {self.cables[to]}")
        self.cables[port.name] = to
        return found.handle

    def flow_queues(self) -> dict[int, tuple[int, ...]]:
        """For each generator flow that was seen: the tx queues it came out of, at all ports, both directions."""
        found: dict[int, set[int]] = {}
        for port in self.ports:
            for flow, queues in port.flow_queues().items():
                found.setdefault(flow, set()).update(queues)
        return {flow: tuple(sorted(queues)) for flow, queues in sorted(found.items())}

    @property
    def handle(self) -> Pointer:
        """The C side, for the data path's own modules."""
        return self._handle

    def close(self) -> None:
        """Release everything; TAP interfaces vanish, capture files are complete. Harmless when called twice."""
        if not self._handle:
            return
        for port in self.ports:
            port.flush_wire()
            port.unplug()
        lib.dp_free(self._handle)
        self._handle = None
