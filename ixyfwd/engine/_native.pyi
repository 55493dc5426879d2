"""What cffi makes of `_c/native.cdef.h`; `ffi` is described as far as the engine uses it."""

from typing import Any, Protocol

class _Ffi(Protocol):
    CData: type[Any]
    NULL: Any

    def new(self, ctype: str, init: object = ...) -> Any: ...
    def cast(self, ctype: str, value: object) -> Any: ...
    def typeof(self, cdata: Any) -> Any: ...
    def addressof(self, lib: _Lib, name: str) -> Any: ...
    def from_buffer(self, ctype: str, buffer: object, require_writable: bool = ...) -> Any: ...
    def buffer(self, cdata: Any, size: int = ...) -> Any: ...
    def release(self, cdata: Any) -> None: ...
    def sizeof(self, ctype: str) -> int: ...
    def offsetof(self, ctype: str, *fields: str | int) -> int: ...

class _Lib(Protocol):
    PORT_RX_PACKETS: int
    PORT_RX_BYTES: int
    PORT_RX_ERRORS: int
    PORT_RX_NO_BUFFER: int
    PORT_TX_PACKETS: int
    PORT_TX_BYTES: int
    PORT_TX_FULL: int
    PORT_BLOCK_WORDS: int
    WORD_POLLS: int
    WORD_EMPTY_POLLS: int
    WORD_BURSTS: int

    VERDICT_ACTION_SHIFT: int
    VERDICT_TARGET_MASK: int
    ACTION_PASS: int
    ACTION_OUT: int
    ACTION_DROP: int
    VERDICT_RESERVED_MASK: int
    PROGRAM_DROP_CAUSES: int

    def pass_all(self, settlement: Any) -> int: ...
    def settle(self, settlement: Any) -> int: ...
    def dispatch(self, dispatch: Any) -> int: ...
    def capture_burst(self, capture: Any) -> int: ...
    def capture_flush(self, capture: Any) -> int: ...

ffi: _Ffi
lib: _Lib
