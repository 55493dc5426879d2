"""JSON lines, one object each, as they travel over a control socket: reading a client's, writing an answer."""

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from ixyfwd.errors import UsageError

REQUEST_BYTES_MAX: Final = 16 * 1024
ANSWER_BYTES_MAX: Final = 16 << 20
DEPTH_MAX: Final = 32

_KINDS: Final[Mapping[type, str]] = {bool: "true or false", str: "text", dict: "an object"}
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_STEPS: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKETS: Final = bytes(set(range(256)) - set(_STEPS))
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


class LineError(Exception):
    """A line that is refused. The text says what was found, as the end of a sentence."""


def parse_object(line: bytes) -> dict[str, Any]:
    """The JSON object on a line. Stricter than `json`: RFC 8259 with unique keys, bounded in depth.

    Raises LineError for any other line. The time it takes is proportional to the length
    of the line.
    """
    if not line.strip():
        raise LineError("an empty line")
    if _depth(line) > DEPTH_MAX:
        raise LineError(f"brackets nested more than {DEPTH_MAX} deep")
    try:
        # Text and not bytes: in bytes with zeros `json` would see UTF-16 or UTF-32.
        found = json.loads(
            line.decode(), object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError:
        raise LineError("text that is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise LineError(_where_wrong(error)) from None
    except (ValueError, RecursionError):
        raise LineError("a number with too many digits") from None
    if not isinstance(found, dict):
        raise LineError("JSON that is not an object")
    # Python keeps a lone half of a pair, which then cannot be printed or sent.
    if b"\\u" in line and _SURROGATE.search(json.dumps(found, ensure_ascii=False)):
        raise LineError("half a surrogate pair")
    return found


def dump_line(answer: Mapping[str, Any]) -> bytes:
    """The line, with its newline, that carries an answer."""
    return json.dumps(answer, separators=(",", ":")).encode() + b"\n"


def required(request: Mapping[str, Any], key: str, kind: type) -> Any:
    """A value of a request: one of the types in _KINDS. Raises UsageError if it is missing or of another type."""
    value = request.get(key)
    if type(value) is not kind:
        found = json.dumps(value) if key in request else "none"
        raise UsageError(f'the command "{request["do"]}" needs "{key}" as {_KINDS[kind]}, found {found}')
    return value


def _depth(line: bytes) -> int:
    brackets = _STRING.sub(b"", line).translate(None, _NO_BRACKETS)
    return max(itertools.accumulate(map(_STEPS.__getitem__, brackets)), default=0)


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise LineError("a key that appears twice")
        found[key] = value
    return found


def _where_wrong(error: json.JSONDecodeError) -> str:
    """A clause on where a line goes wrong. The words of `error` are about Python's reader and differ by its version."""
    if not error.doc[error.pos :].strip():
        return "JSON that ends too early"
    if error.pos == 0:
        return "text that is not JSON"
    return f"text that is not JSON (it goes wrong at character {error.pos + 1})"


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise LineError("a number that is too large")
    return value


def _refuse_constant(name: str) -> float:
    raise LineError(f"{name}, which is not JSON")
