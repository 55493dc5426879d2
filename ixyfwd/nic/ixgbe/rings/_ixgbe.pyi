"""What cffi makes of `_c/ixgbe.cdef.h`; `ffi` is described as far as the rings use it."""

from typing import Any, Protocol

from ixyfwd.engine.bound.bind import Ffi

class _Lib(Protocol):
    RS_INTERVAL: int
    DESCRIPTORS_PER_LINE: int
    PORT_RX_PACKETS: int
    PORT_RX_BYTES: int
    PORT_RX_ERRORS: int
    PORT_RX_NO_BUFFER: int
    PORT_TX_PACKETS: int
    PORT_TX_BYTES: int
    PORT_TX_FULL: int
    PORT_BLOCK_WORDS: int
    SINGLES: int
    MAX_BURSTS: int
    WORD_POLLS: int
    WORD_EMPTY_POLLS: int
    WORD_BURSTS: int

    def source_burst(self, source: Any) -> int: ...
    def rx_burst(self, queue: Any) -> int: ...
    def tx_burst(self, queue: Any) -> int: ...
    def tx_clean(self, queue: Any) -> int: ...
    def rx_burst_segmented(self, queue: Any) -> int: ...
    def tx_burst_segmented(self, queue: Any) -> int: ...
    def tx_clean_segmented(self, queue: Any) -> int: ...
    def forward(self, forwarder: Any) -> int: ...

ffi: Ffi
lib: _Lib
