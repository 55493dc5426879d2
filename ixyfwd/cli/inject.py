"""`ixyfwd inject`: misbehaviour of simulated ports, on demand."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ixyfwd.cli.output import Lines
from ixyfwd.config.schema import NAME, NAME_EXPECTED
from ixyfwd.errors import UsageError
from ixyfwd.model.inject.kinds import KINDS, Parameter, find_kind, read_parameters, split_words

_EXPECTED = "PORT KIND [KEY=VALUE...], PORT KIND off, PORT clear or list"


def inject_command(words: Sequence[str], instance: str, control: str | None, json: bool) -> None:
    """Inject into a port of a running model, or list the kinds; then show what is injected into the port now.

    Raises UsageError for words that are no such request, before anything is asked of the model.
    """
    out = Lines(sys.stdout)
    if list(words) == ["list"]:
        if json:
            out.write_json({"kinds": kinds_data()})
        else:
            out.write(*kinds_lines())
        return
    if len(words) < 2:
        raise UsageError(f"inject: found {' '.join(words)!r}, expected {_EXPECTED}")
    port, kind, *rest = words
    injected = _ask(port, *_request(kind, rest), instance=instance, control=control)
    if json:
        out.write_json({"port": port, "injected": injected})
    else:
        out.write(*(injected_lines(port, injected) or [f"{port}: nothing injected"]))


def _request(kind: str, rest: Sequence[str]) -> tuple[str | None, dict[str, Any] | None]:
    """Kind and parameters; None for those means off, as for the supervisor. Raises UsageError."""
    if kind == "clear":
        if rest:
            raise UsageError(f"inject: nothing may follow clear, found {' '.join(rest)!r}")
        return None, None
    found = find_kind(kind)
    if list(rest) == ["off"]:
        return kind, None
    given = split_words(found, rest)
    values = read_parameters(found, given)
    return kind, {name: values[name] for name in given}


def _ask(
    port: str, kind: str | None, parameters: dict[str, Any] | None, *, instance: str, control: str | None
) -> dict[str, Any]:
    if control is None:
        from ixyfwd.supervisor.client import request  # noqa: PLC0415

        if not NAME.fullmatch(instance):
            raise UsageError(f"--instance: found {instance!r}, expected {NAME_EXPECTED}")
        answer: dict[str, Any] = request(instance, "inject", port=port, kind=kind, parameters=parameters)["injected"]
        return answer
    from ixyfwd.model.client import ModelClient  # noqa: PLC0415

    client = ModelClient(control)
    try:
        if kind is None or parameters is None:
            return dict(client.inject_off(port, kind))
        return dict(client.inject(port, kind, parameters))
    finally:
        client.close()


def injected_lines(port: str, injected: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A line per kind that is or was injected."""
    return [
        f"{port}: {kind} {'active' if found['active'] else 'ended'}, count {found['count']:,}"
        + "".join(f", {name}={value}" for name, value in found["parameters"].items())
        for kind, found in injected.items()
    ]


def kinds_lines() -> list[str]:
    """All kinds with their parameters, for a person."""
    lines: list[str] = []
    for kind in KINDS.values():
        lines.append(f"{kind.name}: {kind.text}" + (f"; ends {kind.ends}" if kind.ends else ""))
        lines.extend(f"    {_default(parameter)}: {parameter.text}" for parameter in kind.all_parameters)
    return lines


def _default(parameter: Parameter) -> str:
    return parameter.name + ("=..." if parameter.default is None else f"={parameter.default}")


def kinds_data() -> list[dict[str, Any]]:
    """The kinds that can be injected, as plain data for `--json`."""
    return [
        {
            "name": kind.name,
            "text": kind.text,
            "ends": kind.ends,
            "parameters": [
                {"name": p.name, "default": p.default, "text": p.text, "choices": list(p.choices)}
                | ({} if p.choices else {"low": p.low, "high": p.high})
                for p in kind.all_parameters
            ],
        }
        for kind in KINDS.values()
    ]
