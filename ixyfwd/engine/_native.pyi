"""What cffi makes of `_c/native.cdef.h`; `ffi` is described as far as the engine uses it."""

from typing import Any, Protocol

class _Ffi(Protocol):
    CData: type[Any]
    NULL: Any

    def new(self, ctype: str, init: object = ...) -> Any: ...
    def cast(self, ctype: str, value: object) -> Any: ...
    def from_buffer(self, ctype: str, buffer: object, require_writable: bool = ...) -> Any: ...
    def release(self, cdata: Any) -> None: ...
    def sizeof(self, ctype: str) -> int: ...
    def offsetof(self, ctype: str, *fields: str | int) -> int: ...

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

    def rx_burst(self, queue: Any) -> int: ...
    def tx_burst(self, queue: Any) -> int: ...
    def tx_clean(self, queue: Any) -> int: ...
    def touch_burst(self, frames: Any) -> int: ...
    def forward(self, forwarder: Any) -> int: ...

ffi: _Ffi
lib: _Lib
