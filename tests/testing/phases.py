"""What a test uses says when it runs: side by side with others or alone, among the fast ones or not."""

from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

import pytest

# The pool of hugepages is one for all processes; a process that spins on a CPU is felt by every test there.
ALONE = frozenset({"HUGEPAGES", "hugepages_free", "busy_with"})
# A command is an interpreter of its own with most of ixyfwd in it, which alone takes most of a second.
SLOW = frozenset({"IXYFWD", "copy_tree"})


def assign_markers(items: list[pytest.Item]) -> None:
    """Mark `alone` what uses something that there is once, and what needs root, for the same reason: interfaces,
    namespaces and mounts; mark `slow` what runs `ixyfwd`. What measures time, or takes long for another reason,
    has its marker where it is written."""
    for item in items:
        used = names_used(item)
        if used & ALONE or item.get_closest_marker("root"):
            item.add_marker(pytest.mark.alone)
        if used & SLOW:
            item.add_marker(pytest.mark.slow)


def names_used(item: pytest.Item) -> set[str]:
    """Global names and attributes in the code of a test, of its fixtures, and of the tests' own functions that these
    call."""
    found: set[str] = set()
    if not isinstance(item, pytest.Function):
        return found
    waiting = _functions(item.function)
    for fixtures in item._fixtureinfo.name2fixturedefs.values():
        for fixture in fixtures:
            waiting += _functions(fixture.func)
    seen: set[FunctionType] = set()
    while waiting:
        function = waiting.pop()
        if function in seen:
            continue
        seen.add(function)
        names = {name for code in _codes(function.__code__) for name in code.co_names}
        found |= names
        for name in names:
            thing = function.__globals__.get(name)
            if callable(thing) and thing.__module__.startswith("tests."):
                waiting += _functions(thing)
    return found


def _functions(thing: Callable[..., Any]) -> list[FunctionType]:
    """What a decorator has wrapped; of a class its methods."""
    if isinstance(thing, type):
        return [one for one in vars(thing).values() if isinstance(one, FunctionType)]
    thing = getattr(getattr(thing, "hypothesis", None), "inner_test", thing)
    thing = getattr(thing, "__wrapped__", thing)
    return [thing] if isinstance(thing, FunctionType) else []


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of the functions inside of it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
