"""Docstrings as documentation: what those of the package leave out, and a test of each rule by which that is found."""

import ast
from pathlib import Path

import pytest

from tests.testing.docstrings import ERRORS, Package, findings
from tests.testing.support import ROOT

PACKAGE = ROOT / "ixyfwd"
# Each program and each role has a class of this name, by which the registry finds it.
SHARED_NAMES = {"Options", "Order"}


def test_docstrings_say_what_a_reader_needs() -> None:
    found = [str(one) for one in findings(Package.read(PACKAGE))]
    assert not found, "\n".join(found)


def test_two_public_classes_do_not_share_a_name() -> None:
    places: dict[str, list[str]] = {}
    for one in Package.read(PACKAGE).classes:
        if not one.node.name.startswith("_"):
            places.setdefault(one.node.name, []).append(one.module)
    shared = {name: modules for name, modules in places.items() if len(modules) > 1 and name not in SHARED_NAMES}
    assert not shared


def test_the_errors_are_those_of_the_package() -> None:
    tree = ast.parse((PACKAGE / "errors.py").read_text(encoding="utf-8"))
    assert {node.name for node in tree.body if isinstance(node, ast.ClassDef)} < ERRORS


def rules(source: str, **more: str) -> list[str]:
    """The rules that a module breaks; `more`: the sources of other modules."""
    package = Package(Path(), {"sample": f'"""A sample."""\n{source}', **more})
    return [one.rule for one in findings(package) if one.place == "sample"]


def function(doc: str, signature: str = "()", body: str = "pass") -> str:
    """The source of a function."""
    return f'def thing{signature}:\n    """{doc}"""\n    {body}\n'


@pytest.mark.parametrize(
    ("source", "broken"),
    [
        ("def thing(): ...", ["missing"]),
        ("class Thing: ...", ["missing"]),
        ('class Thing:\n    """A thing."""\n    def turn(self): ...', ["missing"]),
        ("def _thing(): ...", []),
        ('class Thing:\n    """A thing."""\n    def _turn(self): ...\n    def __len__(self): ...', []),
        ('class _Thing:\n    def turn(self): ...', []),
        ("class RXCTRL(Register, section='8.2.3.8.10'): ...", []),
        (function("A thing."), []),
        (function("A thing"), ["first line"]),
        (function("A thing that goes on\n    in the next line."), ["first line"]),
        (function("The same for a thing."), ["first line"]),
        (function("4.6.3: the thing."), ["first line"]),
        (function("Raises UsageError for a wrong thing."), ["first line"]),
        (function("Take the thing back (4.6.3)."), []),
        ("# Nobody reads this.", ["words"]),
        ('MESSAGE = "reset by someone else"', ["words"]),
        ("# A word such as wholesome is none of them.", []),
    ],
)  # fmt: skip
def test_a_public_thing_has_a_docstring_whose_first_line_names_it(source: str, broken: list[str]) -> None:
    assert rules(source) == broken


@pytest.mark.parametrize(
    ("source", "broken"),
    [
        (function("A thing.", body="raise UsageError('x')"), ["raises"]),
        (function("A thing. Raises UsageError.", body="raise UsageError('x')"), []),
        (function("A thing. Raises IxyfwdError.", body="raise UsageError('x')"), ["raises"]),
        (function("A thing. Raises DeviceError.", body="raise DeviceGoneError('x')"), []),
        (function("A thing.", body="raise KeyError('x')"), []),
        (function("A thing.", body="raise self._gone('x')"), []),
        (function("A thing.", body="return lambda: fail()"), []),
        (function("A thing.", body="try:\n        raise OSError\n    except OSError:\n        pass"), []),
        (function("A thing.", body="try:\n        raise ValueError\n    except OSError:\n        pass"), ["raises"]),
        (function("A thing.", body="try:\n        go()\n    except OSError:\n        raise UsageError"), ["raises"]),
        ('class Thing:\n    """A thing. Methods raise UsageError."""\n'
         '    def go(self):\n        """Go."""\n        raise UsageError', []),
        ('class Thing:\n    """A thing."""\n    def __init__(self):\n        raise UsageError', ["raises"]),
    ],
)  # fmt: skip
def test_a_function_names_the_errors_that_it_raises(source: str, broken: list[str]) -> None:
    assert rules(source) == broken


@pytest.mark.parametrize(
    ("source", "broken"),
    [
        (function("A thing.", "(view: memoryview)"), ["arrays"]),
        (function("A thing of `view`.", "(view: memoryview)"), ["arrays"]),
        (function("A thing. `view`: uint32[entries].", "(view: memoryview)"), []),
        (function("A thing. `work`: a `struct queue *`.", "(work: CData)"), []),
        (function("A thing.", "() -> 'np.ndarray[tuple[int], np.dtype[np.int64]]'"), ["arrays"]),
        (function("A thing, int64[n].", "() -> 'np.ndarray[tuple[int], np.dtype[np.int64]]'"), []),
        (function("A thing.", "() -> memoryview | None"), ["arrays"]),
        ("Dwords = NDArray[np.uint32]\n" + function("A thing.", "(ids: Dwords)"), ["arrays"]),
        ('class Thing:\n    """A thing."""\n    view: memoryview', ["arrays"]),
        ('class Thing:\n    """A thing. `view`: uint8[size]."""\n    view: memoryview', []),
    ],
)  # fmt: skip
def test_arrays_have_a_type_and_a_shape(source: str, broken: list[str]) -> None:
    assert rules(source) == broken


@pytest.mark.parametrize(
    ("source", "broken"),
    [
        (function("A thing.", "(timeout: float)"), ["units"]),
        (function("A thing.", "(timeout_s: float)"), []),
        (function("A thing within `timeout` seconds.", "(timeout: float)"), []),
        (function("A thing within `timeout`.  Takes seconds.", "(timeout: float)"), ["units"]),
        (function("A thing.", "(timeout: Timeout)"), []),
        (function("A thing.", "(index: int)"), []),
        ('def ring_size() -> int:\n    """The size of a ring."""', ["units"]),
        ('def ring_size() -> int:\n    """The size of a ring in bytes."""', []),
        ('class Thing:\n    """A thing."""\n    size: int', ["units"]),
        ('class Thing:\n    """A thing of `size` bytes."""\n    size: int', []),
    ],
)  # fmt: skip
def test_measures_have_a_unit(source: str, broken: list[str]) -> None:
    assert rules(source) == broken


BASE = '''"""A module."""


class Base(Protocol):
    """A base."""

    def go(self, view: memoryview, timeout: float) -> None:
        """Go on with `view`, uint8[n], for `timeout` seconds. Raises UsageError."""
'''
THING = 'class Thing:\n    """A thing."""\n'
GO = "    def go(self, view: memoryview, timeout: float) -> None:\n        raise UsageError"


@pytest.mark.parametrize(
    ("source", "broken"),
    [
        (f'class Thing(Base):\n    """A thing."""\n{GO}', []),
        (f'class Thing:\n    """A thing. See `other.base.Base`."""\n{GO}', []),
        (f'class Thing:\n    """A thing. Implements `other.base.Base`."""\n{GO}', []),
        (f"{THING}{GO}", ["arrays", "missing", "units", "raises"]),
        ('class Thing:\n    """A thing. See `other.base.Base`."""\n    def stop(self): ...', ["missing"]),
        ('class Thing:\n    """A thing. See `other.base.Bass`."""', ["reference"]),
        ('class Thing:\n    """See `other.base.Base`."""', ["first line"]),
        (f'{THING}    def stop(self):\n        """See `other.base.Base.go`."""', []),
        (f'{THING}    def stop(self):\n        """See `other.base.Base.gone`."""', ["reference"]),
    ],
)  # fmt: skip
def test_a_method_inherits_the_documentation_of_what_it_implements(source: str, broken: list[str]) -> None:
    assert rules(source, **{"other.base": BASE}) == broken


def test_a_command_is_documented_by_its_help() -> None:
    signature = "(timeout: Annotated[float, typer.Option(help='seconds to wait')])"
    assert rules(function("Wait for a thing.", signature, "raise UsageError('x')")) == []
