"""The rings in numpy, for the vector engine."""

from collections.abc import Callable

from ixyfwd.engine.batch import Batch
from ixyfwd.engine.contract import Engine
from ixyfwd.engine.queue import Rx, Tx
from ixyfwd.engine.rings import PortRings
from ixyfwd.engine.traffic import Frames
from ixyfwd.engine.vector import VectorEngine
from ixyfwd.engine.vector_views import BatchViews
from ixyfwd.nic.ixgbe.rings.start import start_rx
from ixyfwd.nic.ixgbe.rings.vector_ring import RingViews
from ixyfwd.nic.ixgbe.rings.vector_rx import RxBurst
from ixyfwd.nic.ixgbe.rings.vector_segments import SegmentedRxBurst, SegmentedTxBurst, SegmentedTxRing
from ixyfwd.nic.ixgbe.rings.vector_source import VectorSource
from ixyfwd.nic.ixgbe.rings.vector_tx import TxBurst, TxRing


def open_vector(engine: Engine, port: int) -> PortRings:
    """Open the rings of a port. Raises TypeError for another engine."""
    if not isinstance(engine, VectorEngine):
        raise TypeError(f"expected the vector engine, not {engine!r}")
    return VectorRings(engine, port)


class VectorRings:
    """The rings of a port in numpy. See `engine.rings.PortRings` and `engine.rings.SourceRings`."""

    def __init__(self, engine: VectorEngine, port: int) -> None:
        self._engine = engine
        self._memory = memory = engine.memory
        self._port = port
        self._bells = memory.ports[port]
        views = engine.keep(RingViews(memory.arena, memory.layout.tx[port]))
        self._tx_ring = engine.keep((SegmentedTxRing if memory.segmented else TxRing)(views, engine.pool_of(port)))
        self.rx = Rx(self._bind_rx, self._start)
        self.tx = Tx(self._bind_tx, self._clean)

    def close(self) -> None:
        """Release the bursts; the engine closes the views."""
        self.rx.forget()
        self.tx.forget()

    def bind_source(self, batch: Batch, frames: Frames) -> Callable[[], int]:
        """See `engine.rings.SourceRings`."""
        engine = self._engine
        source = VectorSource(self._memory, self._tx_ring, engine.pool_of(self._port), BatchViews(batch), frames)
        return engine.keep(source).run

    def _bind_rx(self, batch: Batch) -> Callable[[], int]:
        engine, memory = self._engine, self._memory
        pool = engine.pool_of(self._port)
        ring = engine.keep(RingViews(memory.arena, memory.layout.rx[self._port]))
        counters = memory.port_words(self._port)
        rx_burst = SegmentedRxBurst if memory.segmented else RxBurst
        burst = rx_burst(ring, pool, engine.arrays(batch), counters=counters, rdt=self._bells.rdt)
        return engine.keep(burst).run

    def _bind_tx(self, batch: Batch) -> Callable[[], int]:
        engine, memory, ring = self._engine, self._memory, self._tx_ring
        addresses, views = engine.pool_of(self._port).addresses, engine.arrays(batch)
        counters, tdt = memory.port_words(self._port), self._bells.tdt
        if isinstance(ring, SegmentedTxRing):
            burst = SegmentedTxBurst(ring, views, addresses=addresses, counters=counters, tdt=tdt)
            return engine.keep(burst).run
        return engine.keep(TxBurst(ring, views, addresses=addresses, counters=counters, tdt=tdt)).run

    def _start(self) -> None:
        self._engine.check_open()
        start_rx(self._memory, self._port)

    def _clean(self) -> int:
        self._engine.check_open()
        return self._tx_ring.clean()
