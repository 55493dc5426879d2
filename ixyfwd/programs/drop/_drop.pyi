"""What cffi makes of `_c/drop.cdef.h`; `ffi` is described as far as the program uses it."""

from typing import Any, Protocol

class _Ffi(Protocol):
    CData: type[Any]

    def new(self, ctype: str, init: object = ...) -> Any: ...
    def cast(self, ctype: str, value: object) -> Any: ...
    def typeof(self, cdata: Any) -> Any: ...
    def addressof(self, lib: _Lib, name: str) -> Any: ...

class _Lib(Protocol):
    def drop_burst(self, drop: Any) -> int: ...

ffi: _Ffi
lib: _Lib
