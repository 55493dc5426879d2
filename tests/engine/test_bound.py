"""C functions bound to their structs, judged by functions that are not the engine's: callbacks made by cffi."""

import ctypes
import gc
import sys
import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import BuiltinFunctionType
from typing import Any

import pytest
from cffi import FFI

from ixyfwd.engine.bound import _bound
from ixyfwd.engine.bound.bind import bind
from ixyfwd.engine.open import open_engine
from ixyfwd.engine.traffic import Frames
from ixyfwd.nic.ixgbe.rings._ixgbe import ffi as native_ffi
from ixyfwd.nic.ixgbe.rings._ixgbe import lib as native_lib
from ixyfwd.roles.capture.order import Order as CaptureOrder
from ixyfwd.roles.generate.order import Order as GenerateOrder
from tests.testing.fake_nic import Frame, Rig

PY_TP_CLEAR = 51  # CPython's number of the slot
BINDS = 2000

ffi: Any = FFI()
ffi.cdef("struct counter { uint32_t calls; uint32_t step; }; struct other { int x; };")


class Kept:
    """Something a struct points into."""


def new_function() -> Any:
    """Adds `step` to `calls` and returns the sum."""

    def count(counter: Any) -> int:
        counter.calls = (counter.calls + counter.step) % 2**32
        return int(counter.calls)

    return ffi.callback("uint32_t(struct counter *)", count)


def new_call(step: int = 1, keeps: object = None) -> Callable[[], int]:
    return bind(ffi, new_function(), ffi.new("struct counter *", {"step": step}), keeps)


def bound_objects() -> int:
    """How many are alive."""
    type_ = type(new_call().__self__)  # type: ignore[attr-defined]
    gc.collect()
    return sum(isinstance(thing, type_) for thing in gc.get_objects())


@pytest.mark.parametrize("step", [0, 1, 256, 257, 2**31, 2**32 - 1])
def test_a_call_returns_what_the_function_returns(step: int) -> None:
    counter = ffi.new("struct counter *", {"step": step})
    call = bind(ffi, new_function(), counter)
    assert [call() for _ in range(3)] == [step * k % 2**32 for k in (1, 2, 3)]
    assert counter.calls == step * 3 % 2**32


def test_each_callable_has_a_struct_of_its_own() -> None:
    """Called from one place in the code, which the interpreter specialises for the first of them."""
    calls = [new_call(step) for step in (1, 10, 100)]
    for k in range(1, 50):
        assert [call() for call in calls] == [k, 10 * k, 100 * k]


def test_a_call_takes_no_arguments() -> None:
    call: Any = new_call()
    for _ in range(50):
        assert call()
    with pytest.raises(TypeError, match=r"a bound C function takes no arguments \(2 given\)"):
        call(1, 2)
    with pytest.raises(TypeError, match="takes no keyword arguments"):
        call(batch=1)
    assert call() == 51


@pytest.mark.parametrize(
    "signature",
    [
        "uint32_t(struct counter *, int)",
        "uint32_t(void)",
        "uint32_t(void *)",
        "uint32_t(uint32_t *)",
        "uint32_t(uint64_t)",
        "uint64_t(struct counter *)",
        "int32_t(struct counter *)",
        "void(struct counter *)",
    ],
)
def test_a_function_of_another_shape_is_refused(signature: str) -> None:
    function = ffi.callback(signature, lambda *_: 0)
    with pytest.raises(
        TypeError, match=r"one pointer to a struct and returns uint32_t, as ffi\.addressof\(lib, NAME\)"
    ):
        bind(ffi, function, ffi.new("struct counter *"))


@pytest.mark.parametrize("function", [native_lib.rx_burst, len, 4096, None, "rx_burst", ffi.new("int *")])
def test_what_is_no_c_function_is_refused(function: object) -> None:
    with pytest.raises(TypeError, match="expected a pointer to a C function"):
        bind(ffi, function, ffi.new("struct counter *"))


@pytest.mark.parametrize(
    "work",
    [ffi.new("struct other *"), ffi.new("struct counter[2]"), ffi.cast("void *", 4096), 4096, None, b"counter"],
    ids=["other", "array", "void", "int", "None", "bytes"],
)
def test_a_struct_of_another_type_is_refused(work: object) -> None:
    with pytest.raises(TypeError, match=r"the C function takes 'struct counter \*', not"):
        bind(ffi, new_function(), work)


def test_structs_of_two_modules_are_not_mixed_up() -> None:
    """`struct queue` of one module has nothing to do with that of another."""
    namesake = FFI()
    namesake.cdef("struct queue { int x; };")
    with pytest.raises(TypeError, match=r"the C function takes 'struct queue \*'"):
        bind(native_ffi, native_ffi.addressof(native_lib, "rx_burst"), namesake.new("struct queue *"))


def test_null_is_refused() -> None:
    with pytest.raises(ValueError, match="NULL"):
        bind(ffi, new_function(), ffi.cast("struct counter *", 0))
    with pytest.raises(ValueError, match="NULL"):
        bind(ffi, ffi.cast("uint32_t(*)(struct counter *)", 0), ffi.new("struct counter *"))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((0, 1, None), ValueError),
        ((1, 0, None), ValueError),
        ((1 << 64, 1, None), OverflowError),
        ((1, 1 << 64, None), OverflowError),
        (("1", 1, None), TypeError),
        ((1, 1.0, None), TypeError),
        ((1, 1), TypeError),
    ],
)
def test_the_module_itself_takes_only_addresses(arguments: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        _bound.new_call(*arguments)


def test_the_type_makes_no_objects_by_itself() -> None:
    type_ = type(new_call().__self__)  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="cannot create"):
        type_()
    with pytest.raises(TypeError, match="immutable"):
        type_.function = 0


def test_a_callable_keeps_everything_alive_and_then_lets_it_go() -> None:
    kept = Kept()
    function, counter = new_function(), ffi.new("struct counter *", {"step": 3})
    alive = [weakref.ref(thing) for thing in (kept, function, counter)]
    call = bind(ffi, function, counter, [kept])
    del kept, function, counter
    gc.collect()
    assert all(reference() is not None for reference in alive)
    assert (call(), call()) == (3, 6)
    del call
    assert [reference() for reference in alive] == [None] * 3


def test_binding_often_leaks_nothing() -> None:
    kept = Kept()
    function, counter = new_function(), ffi.new("struct counter *")
    type_ = type(new_call().__self__)  # type: ignore[attr-defined]
    before = [sys.getrefcount(thing) for thing in (kept, function, counter, type_, None)]
    alive = bound_objects()
    for _ in range(BINDS):
        bind(ffi, function, counter, kept)()
    for bad in (None, ffi.new("struct other *")):
        with pytest.raises(TypeError):
            bind(ffi, function, bad, kept)
    after = [sys.getrefcount(thing) for thing in (kept, function, counter, type_, None)]
    assert after[:-1] == before[:-1]
    assert abs(after[-1] - before[-1]) < BINDS / 2
    assert bound_objects() == alive


def test_the_garbage_collector_breaks_a_cycle_through_a_callable() -> None:
    kept = Kept()
    cycle: list[object] = [kept]
    cycle.append(new_call(keeps=cycle))
    alive = weakref.ref(kept)
    del kept, cycle
    assert alive() is not None
    gc.collect()
    assert alive() is None


def test_a_call_does_nothing_once_the_garbage_collector_has_cleared_it() -> None:
    kept = Kept()
    alive = weakref.ref(kept)
    call = new_call(keeps=kept)
    del kept
    bound = call.__self__  # type: ignore[attr-defined]
    get_slot = ctypes.pythonapi.PyType_GetSlot
    get_slot.argtypes, get_slot.restype = [ctypes.py_object, ctypes.c_int], ctypes.c_void_p
    clear = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object)(get_slot(type(bound), PY_TP_CLEAR))
    assert call() == 1
    assert (clear(bound), clear(bound)) == (0, 0)
    assert alive() is None
    assert (call(), call()) == (0, 0)


def test_bursts_hold_the_lock_only_where_no_other_thread_runs() -> None:
    rig = Rig("native")
    batch = rig.engine.new_batch(4)
    links, frames = [(0, 0)], Frames(bytes(64), 1, (60,), (0,), bytes(1), 1)
    for threaded, kind in ((False, BuiltinFunctionType), (True, partial)):
        engine: Any = open_engine("native", replace(rig.memory, threaded=threaded))
        bursts = engine.rx(0).bind(batch), engine.tx(0).bind(batch), engine.bind_frame_op("touch", batch)
        assert [type(call) for call in (*bursts, engine.bind_source(0, batch, frames))] == [kind] * 4
        assert type(engine.bind_forward(links, 4, None, 1)) is partial, "a call that may take long"
        engine.close()


def test_only_a_capture_into_a_file_has_another_thread() -> None:
    assert CaptureOrder(fd=3).threaded
    assert not CaptureOrder(fd=None).threaded
    assert not GenerateOrder("", 1, (60,), (0,), (0,), None).threaded


@pytest.mark.parametrize("threaded", [False, True])
def test_every_callable_does_nothing_after_close(threaded: bool) -> None:
    rig = Rig("native")
    engine: Any = open_engine("native", replace(rig.memory, threaded=threaded))
    rig.engine = engine
    rig.start()
    batch = engine.new_batch(8)
    frames = Frames(bytes(64), 1, (60,), (0,), bytes(1), 100)
    calls = [
        engine.rx(0).bind(batch),
        engine.bind_frame_op("touch", batch),
        engine.tx(0).bind(batch),
        engine.bind_source(0, batch, frames),
        engine.bind_forward([(0, 0)], 8, "touch", 4),
    ]
    assert rig.nic[0].receive(Frame((60,)))
    assert calls[0]() == 1
    engine.close()
    before = rig.content(), batch.ids.tolist(), batch.lengths.tolist()
    assert [call() for call in calls] == [0] * len(calls)
    assert (rig.content(), batch.ids.tolist(), batch.lengths.tolist()) == before


@pytest.mark.parametrize("threaded", [False, True])
def test_an_engine_lets_go_of_what_was_bound(threaded: bool) -> None:
    """A batch lives as long as its callables; the engine remembers no struct beyond that."""
    rig = Rig("native")
    engine: Any = open_engine("native", replace(rig.memory, threaded=threaded))
    engine.rx(0).start()
    batch = engine.new_batch(8)
    before = sys.getrefcount(batch), sys.getrefcount(engine), len(engine._work)
    for _ in range(50):
        engine.rx(0).bind(batch)()
        engine.tx(0).bind(batch)()
        engine.bind_frame_op("touch", batch)()
        engine.bind_forward([(0, 0)], 8, "touch", 1)()
    gc.collect()
    assert (sys.getrefcount(batch), sys.getrefcount(engine), len(engine._work)) == before
    call = engine.rx(0).bind(batch)
    alive = weakref.ref(engine)
    del engine, batch
    gc.collect()
    assert alive() is not None
    assert call() == 0
    del call
    gc.collect()
    assert alive() is None, "its own queues remember callables; that cycle is garbage, too"
