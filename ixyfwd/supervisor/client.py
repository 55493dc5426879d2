"""The other end of the control socket: what `ixyfwd status` and `ixyfwd stop` use."""

from contextlib import closing
from typing import Any

from ixyfwd.kit.lineclient import LineClient, Peer
from ixyfwd.supervisor.places import control_socket


def request(instance: str, command: str, timeout_s: float = 5.0, **more: object) -> dict[str, Any]:
    """Ask the running instance: "status" gives its status, "stop" its final report, once it has stopped; "inject" takes
    `more`: port, kind and parameters.

    Raises IxyfwdError if none is running, if it does not answer in time or answers with an error.
    """
    peer = Peer(
        name=f"instance '{instance}'",
        absent=f"no ixyfwd instance '{instance}' is running",
        advice=f"see what `ixyfwd start --instance {instance}` says",
    )
    with closing(LineClient(str(control_socket(instance)), peer, timeout_s)) as client:
        return client.request(command, **more)
