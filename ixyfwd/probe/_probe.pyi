"""What cffi makes of `_c/probe.cdef.h`; `ffi` is described as far as the probe uses it."""

from typing import Any, Protocol

class _Ffi(Protocol):
    def new(self, ctype: str, init: object = ...) -> Any: ...

class _Lib(Protocol):
    def line_first(self, line: Any, took_ns: Any, batches: int, trips: int, timeout_ns: int) -> int: ...
    def line_second(self, line: Any, batches: int, trips: int, timeout_ns: int) -> int: ...

ffi: _Ffi
lib: _Lib
