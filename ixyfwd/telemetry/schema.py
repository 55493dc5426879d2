"""The published JSON schema (draft 2020-12) of the documents that commands print, made from their types.

`status.schema.json` beside this file is its text; `scripts/describe.py` writes it and a
test compares. Objects are closed but for those whose keys are not known in advance:
drops by cause, what programs count, the account of a wire. Within a version keys are
only added, so it describes what this ixyfwd prints: an older one's objects may have
fewer.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from ixyfwd.telemetry.counters import MetricRow
from ixyfwd.telemetry.documents import DOCUMENTS
from ixyfwd.telemetry.plain import About, Item, items

SCHEMA_FILE: Final = Path(__file__).with_name("status.schema.json")
_SCALARS: Final[Mapping[type, str]] = {int: "integer", float: "number", str: "string", bool: "boolean"}

Schema = dict[str, Any]


def schema_text() -> str:
    """The text of the schema file."""
    return json.dumps(status_schema(), indent=1, ensure_ascii=False) + "\n"


def status_schema() -> Schema:
    """The schema for all documents: the value of a document's key `schema` says which one it is."""
    parts: dict[str, Schema] = {}
    for document in DOCUMENTS:
        _define(document, parts)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "What ixyfwd status, start, stop, generate, capture, model and events print with --json",
        "oneOf": [_reference(document) for document in DOCUMENTS],
        "$defs": parts,
    }


def _reference(kind: type) -> Schema:
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _define(kind: type, parts: dict[str, Schema]) -> Schema:
    """A reference to the schema of a typed value's class, which is put into `parts`."""
    if kind.__name__ not in parts:
        parts[kind.__name__] = {}
        properties = {name: found for item in items(kind) for name, found in _properties(item, parts)}
        if kind in DOCUMENTS:
            properties["schema"] = {"const": next(one.default for one in fields(kind) if one.name == "schema")}
        parts[kind.__name__] = _closed((kind.__doc__ or "").partition("\n\n")[0], properties)
    return _reference(kind)


def _closed(description: str, properties: Schema) -> Schema:
    return {
        "description": " ".join(description.split()),
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _properties(item: Item, parts: dict[str, Schema]) -> Iterator[tuple[str, Schema]]:
    about = item.about
    if isinstance(about, About):
        found = _of(item.type, item.optional, parts)
        if about.names:
            found["properties"] = {name: {"description": text, "type": "integer"} for name, text in about.names}
            found["required"] = list(found["properties"])
        yield item.name, {"description": sentence(about.text, about.unit), **found}
        return
    words = {row.key: _word(row, item.optional and not about.nested) for row in about.rows}
    if about.nested:
        found = _closed(f"Of each {about.scope.value}; null for others.", words)
        yield item.name, {**found, "type": ["object", "null"]} if item.optional else found
    else:
        yield from words.items()


def _word(row: MetricRow, optional: bool) -> Schema:
    kind = ["integer", "null"] if optional else "integer"
    return {"description": sentence(row.text, row.unit), "type": kind, "minimum": 0}


def sentence(text: str, unit: str) -> str:
    """The description of a field: its meaning with its unit."""
    return f"{text} [{unit}]" if unit else text


def _of(hint: Any, optional: bool, parts: dict[str, Schema]) -> Schema:
    found = _plain_type(hint, parts)
    if not optional:
        return found
    if isinstance(found.get("type"), str):
        return {**found, "type": [found["type"], "null"]}
    return {"anyOf": [found, {"type": "null"}]}


def _plain_type(hint: Any, parts: dict[str, Schema]) -> Schema:
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint) and isinstance(hint, type):
        return _define(hint, parts)
    if origin is Sequence:
        return {"type": "array", "items": _plain_type(arguments[0], parts)}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _plain_type(arguments[1], parts)}
    if origin is Literal:
        return {"enum": list(arguments)}
    return {} if hint is Any else {"type": _SCALARS[hint]}
