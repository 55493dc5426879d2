"""Conversion of typed values to and from plain data (as `json` reads and writes it), by their fields' types.

A value is a frozen dataclass whose fields are annotated with `About` or `Rows`. Their
types are numbers, texts, other such dataclasses, sequences and mappings of these;
`Mapping[str, Any]` is plain data already.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ixyfwd.errors import IxyfwdError
from ixyfwd.telemetry.counters import MetricRow, PortWord, ProgramWord, Scope, Word

T = TypeVar("T")


@dataclass(frozen=True)
class About:
    """The meaning of a field, in one sentence, and its unit if it is a measure.

    `names`: for a mapping that has these keys, and perhaps others, the meaning of each
    key.
    """

    text: str
    unit: str = ""
    names: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Rows:
    """A field that maps rows to numbers: it has all rows of a scope.

    In JSON each stands under its own name in place of the field's, or `nested` below
    it.
    """

    scope: Scope
    nested: bool = False

    @property
    def rows(self) -> tuple[MetricRow, ...]:
        """The rows that reports show, by index."""
        return _rows_of(self.scope)


@cache
def _rows_of(scope: Scope) -> tuple[MetricRow, ...]:
    return tuple(row for row in (*Word, *PortWord, *ProgramWord) if row.scope is scope and row.reported)


@dataclass(frozen=True)
class Item:
    """A field of a typed value: its name, its type without None, and its annotation.

    `plain`: it holds plain data only.
    """

    name: str
    type: Any
    optional: bool
    about: About | Rows
    plain: bool


@cache
def _items(kind: Any) -> tuple[Item, ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple(_item(kind, field.name, hints[field.name]) for field in fields(kind))


def items(kind: type) -> tuple[Item, ...]:
    """The fields of a typed value's class. Raises TypeError for a field without annotation."""
    return _items(kind)


def _item(kind: type, name: str, hint: Any) -> Item:
    about = next((one for one in getattr(hint, "__metadata__", ()) if isinstance(one, About | Rows)), None)
    if get_origin(hint) is not Annotated or about is None:
        raise TypeError(f"{kind.__name__}.{name} is not annotated with About or Rows")
    bare, optional = without_none(get_args(hint)[0])
    return Item(name, bare, optional, about, not (isinstance(about, Rows) or _is_typed(bare)))


def _is_typed(hint: Any) -> bool:
    return is_dataclass(hint) or any(_is_typed(one) for one in get_args(hint))


def without_none(hint: Any) -> tuple[Any, bool]:
    """A type without its None, and whether it had one. Raises TypeError for any other union."""
    if get_origin(hint) not in {Union, UnionType}:
        return hint, False
    bare, *others = [one for one in get_args(hint) if one is not NoneType]
    if others:
        raise TypeError(f"{hint}: a field has one type, or that and None")
    return bare, True


def to_plain(value: Any) -> Any:
    """Plain data of a typed value; plain data stays as it is."""
    if is_dataclass(value) and not isinstance(value, type):
        return dict(_pairs(value))
    if isinstance(value, Mapping):
        return {key.key if isinstance(key, MetricRow) else key: to_plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(one) for one in value]
    return value


def _pairs(value: Any) -> Iterator[tuple[str, Any]]:
    for item in items(type(value)):
        found = getattr(value, item.name)
        if isinstance(item.about, Rows) and not item.about.nested:
            for row in item.about.rows:
                yield row.key, None if found is None else found[row]
        elif item.plain:  # not copied: the account of a wire may be long
            yield item.name, list(found) if isinstance(found, tuple) else found
        else:
            yield item.name, to_plain(found)


def from_plain(kind: type[T], data: Any, where: str = "") -> T:
    """The typed value that `data` stands for, without the keys that `kind` does not know.

    Raises IxyfwdError for a value that is missing or of another type: another version
    has written it.
    """
    if not isinstance(data, Mapping):
        raise _other(where or "it", "an object", data)
    return kind(**{item.name: _read(item, data, where) for item in items(kind)})


def _read(item: Item, data: Mapping[str, Any], where: str) -> Any:
    path = f"{where}.{item.name}" if where else item.name
    if isinstance(item.about, Rows):
        rows = item.about.rows
        found = data.get(item.name) if item.about.nested else {row.key: data.get(row.key) for row in rows}
        if item.optional and (found is None or all(one is None for one in found.values())):
            return None
        return {row: _typed(int, (found or {}).get(row.key), f"{where}.{row.key}") for row in rows}
    if item.optional and data.get(item.name) is None:
        return None
    return _typed(item.type, data.get(item.name), path)


def _typed(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return from_plain(hint, value, where)
    if origin is Sequence and isinstance(value, list | tuple):
        return tuple(_typed(arguments[0], one, f"{where}[{n}]") for n, one in enumerate(value))
    if origin is Mapping and isinstance(value, Mapping):
        if arguments[1] is Any:
            return value
        return {key: _typed(arguments[1], one, f"{where}.{key}") for key, one in value.items()}
    if hint is Any or (origin is Literal and value in arguments):
        return value
    accepted = (int, float) if hint is float else hint
    if origin is None and isinstance(value, accepted) and (hint is bool or not isinstance(value, bool)):
        return value
    choices = " or ".join(f'"{one}"' for one in arguments)
    raise _other(where, choices if origin is Literal else getattr(hint, "__name__", str(hint)), value)


def _other(where: str, expected: str, found: object) -> IxyfwdError:
    return IxyfwdError(f"{where} is {found!r}, expected {expected}: another version of ixyfwd wrote it")
