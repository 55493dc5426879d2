"""A wire as it is typed: `generator:flows=4,frame=imix`, `tap:ixy0`, or a TOML inline table as in a configuration."""

import re
import tomllib
from typing import Any, Final

from ixyfwd.model.wires.registry import kinds
from ixyfwd.settings.reader import shown

_NEXT_KEY: Final = re.compile(r",(?=[a-z_]+=)")  # other commas belong to a list or to a file name
_TOML_PLACE: Final = re.compile(r" \(at .*\)$")


def wire_data(text: str) -> dict[str, Any]:
    """The keys and values of a wire, still unchecked. Raises ValueError, whose text begins with what was found."""
    if text.lstrip().startswith("{"):
        return _inline_table(text)
    kind, _, rest = text.partition(":")
    data: dict[str, Any] = {"kind": kind}
    main_key = kinds()[kind].main_key if kind in kinds() else None
    for piece in _NEXT_KEY.split(rest) if rest else ():
        key, equals, value = piece.partition("=")
        if not equals and len(data) == 1 and main_key:
            key, value = main_key, piece
        elif not equals:
            known = f"{kind}:KEY=VALUE,..." if kind in kinds() else "KIND:KEY=VALUE,..."
            raise ValueError(f"found {shown(piece)}, expected {known}")
        if key in data:
            raise ValueError(f"found {shown(key)} twice, expected each key once")
        data[key] = _value(value) if equals else value
    return data


def _inline_table(text: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(f"wire = {text}")
    except tomllib.TOMLDecodeError as error:
        reason = _TOML_PLACE.sub("", str(error))
        raise ValueError(f"found no TOML inline table ({reason}), expected one such as {{ kind = 'none' }}") from None
    if set(document) != {"wire"}:
        raise ValueError("found more than one TOML table, expected a single one such as { kind = 'none' }")
    data: dict[str, Any] = document["wire"]
    return data


def _value(text: str) -> Any:
    """Numbers, flags, lists and quoted text as in TOML, anything else as it stands."""
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    value = document["value"]
    return value if len(document) == 1 and isinstance(value, bool | int | float | str | list) else text
