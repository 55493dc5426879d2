"""What cffi makes of `_c/drop.cdef.h`; `ffi` is described as far as the program uses it."""

from typing import Any, Protocol

from ixyfwd.engine.bound.bind import Ffi

class _Lib(Protocol):
    def drop_burst(self, drop: Any) -> int: ...

ffi: Ffi
lib: _Lib
