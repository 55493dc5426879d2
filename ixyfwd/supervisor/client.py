"""The client's end of the control socket: what `ixyfwd status` and `ixyfwd stop` use."""

import time
from contextlib import closing
from typing import Any, Final

from ixyfwd.errors import IxyfwdError
from ixyfwd.kit.lineclient import LineClient, Peer
from ixyfwd.supervisor.places import control_socket, running

LOOK_S: Final = 0.02  # between two looks at an instance that begins or ends


class _AbsentError(IxyfwdError):
    """Nothing listens, or it hung up without an answer."""


def request(instance: str, command: str, timeout_s: float = 5.0, **more: object) -> dict[str, Any]:
    """The answer of the running instance to a command.

    "status" gives its status, "stop" its final report, once it has stopped; "inject" takes `more`: port, kind and
    parameters.

    Raises IxyfwdError if none is running, if it does not answer in time or answers with an error.
    """
    try:
        return _ask(instance, command, timeout_s, **more)
    except _AbsentError:
        held = _held_by(instance)
        if held is None:
            raise
    raise IxyfwdError(f"instance '{instance}' ({held}) is about to start or to end; ask again in a moment")


def stop(instance: str, timeout_s: float) -> dict[str, Any] | None:
    """Ask an instance to stop and wait for its end; returns its final report.

    None if it ended for another reason before it heard of this. One that is about to start is stopped once it has.
    Raises IxyfwdError as `request` does, and if it neither listens nor ends in time.
    """
    deadline = time.monotonic() + timeout_s
    lived = _held_by(instance) is not None
    while True:
        try:
            return _ask(instance, "stop", max(LOOK_S, deadline - time.monotonic()))
        except _AbsentError:
            held = _held_by(instance)
            if held is None and lived:
                return None
            if held is None:
                raise
        lived = True
        if time.monotonic() >= deadline:
            raise IxyfwdError(f"instance '{instance}' ({held}) neither listens nor ends within {timeout_s:g} s")
        time.sleep(LOOK_S)


def _ask(instance: str, command: str, timeout_s: float, **more: object) -> dict[str, Any]:
    peer = Peer(
        name=f"instance '{instance}'",
        absent=f"no ixyfwd instance '{instance}' is running",
        advice=f"see what `ixyfwd start --instance {instance}` says",
        gone=_AbsentError,
    )
    with closing(LineClient(str(control_socket(instance)), peer, timeout_s)) as client:
        return client.request(command, **more)


def _held_by(instance: str) -> str | None:
    """Who has the instance's name, if its lock is held."""
    return next((str(holder) for _, holder in running(instance)), None)
