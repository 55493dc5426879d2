"""What cffi makes of `_c/native.cdef.h`; `ffi` is described as far as the engine uses it."""

from typing import Any, Protocol

from ixyfwd.engine.bound.bind import Ffi

class _Ffi(Ffi, Protocol):
    NULL: Any

    def from_buffer(self, ctype: str, buffer: object, require_writable: bool = ...) -> Any: ...
    def buffer(self, cdata: Any, size: int = ...) -> Any: ...

class _Lib(Protocol):
    PORT_BLOCK_WORDS: int
    PROGRAM_DROP_CAUSES: int

    VERDICT_ACTION_SHIFT: int
    VERDICT_TARGET_MASK: int
    ACTION_PASS: int
    ACTION_OUT: int
    ACTION_DROP: int
    VERDICT_RESERVED_MASK: int

    def pass_all(self, settlement: Any) -> int: ...
    def settle(self, settlement: Any) -> int: ...
    def dispatch(self, dispatch: Any) -> int: ...
    def capture_burst(self, capture: Any) -> int: ...
    def capture_flush(self, capture: Any) -> int: ...

ffi: _Ffi
lib: _Lib
