"""`bind`: a function of any cffi module, and a struct for it, as a callable for the poll loop.

A call through cffi releases the interpreter lock and takes it again, converts its
argument and saves errno, which together take longer than a burst of one frame. A
callable made here does none of that, so it is for functions that return after a burst,
in a process with one Python thread; longer functions, and those beside another thread,
go through cffi.
"""

from collections.abc import Callable
from typing import Any, Protocol

from ixyfwd.engine.bound._bound import new_call

CData = Any  # a C object of cffi's


class Ffi(Protocol):
    """The part of a cffi module's `ffi` that binding its functions takes; see cffi's reference, "ffi/lib objects"."""

    CData: type[Any]

    def new(self, ctype: str, init: object = ...) -> Any:
        """Allocate a C object."""

    def cast(self, ctype: str, value: object) -> Any:
        """Convert a value to a C type."""

    def typeof(self, cdata: Any) -> Any:
        """The C type of an object."""

    def addressof(self, lib: Any, name: str) -> Any:
        """A pointer to a function of a module."""


def bind(ffi: Ffi, function: CData, work: CData, keeps: object = None) -> Callable[[], int]:
    """Bind a C function to its argument: a callable without arguments that returns the function's result.

    `function`: a pointer to a function `uint32_t (struct X *)`, as
    `ffi.addressof(lib, NAME)` gives it. `work`: a `struct X *`. `keeps`: the objects
    that the struct's own pointers lead to. The callable keeps all three alive. The
    interpreter lock is held during a call.

    Raises TypeError if `function` is not such a pointer or `work` is of another type,
    ValueError if one of them is NULL.
    """
    takes = _argument_type(ffi, function)
    if not isinstance(work, ffi.CData) or ffi.typeof(work) is not takes:
        raise TypeError(f"the C function takes {takes.cname!r}, not {work!r}")
    for pointer in (function, work):
        if not pointer:
            raise ValueError(f"a C function cannot be bound to a pointer that is NULL: {pointer!r}")
    return new_call(_address(ffi, function), _address(ffi, work), (function, work, keeps))


def _argument_type(ffi: Ffi, function: CData) -> Any:
    """The type of the one argument of `function`. Raises TypeError unless the function is as `bind` expects it."""
    if isinstance(function, ffi.CData):
        type_ = ffi.typeof(function)
        if (
            type_.kind == "function"
            and type_.result.cname == "uint32_t"
            and not type_.ellipsis
            and len(type_.args) == 1
        ):
            takes = type_.args[0]
            if takes.kind == "pointer" and takes.item.kind == "struct":
                return takes
    raise TypeError(
        "expected a pointer to a C function that takes one pointer to a struct and returns uint32_t, as "
        f"ffi.addressof(lib, NAME) gives it, not {function!r}"
    )


def _address(ffi: Ffi, pointer: CData) -> int:
    return int(ffi.cast("uintptr_t", pointer))
