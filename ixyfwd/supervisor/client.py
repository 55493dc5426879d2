"""The other end of the control socket: what `ixyfwd status` and `ixyfwd stop` use."""

import json
import socket
from typing import Any

from ixyfwd.errors import IxyfwdError
from ixyfwd.supervisor.instance import control_socket


def request(instance: str, command: str, timeout_s: float = 5.0, **more: object) -> dict[str, Any]:
    """Ask the running instance: "status" gives its status, "stop" its final report, once it has stopped; "inject" takes
    `more`: port, kind and parameters.

    Raises IxyfwdError if none is running, if it does not answer in time or answers with an error.
    """
    path = control_socket(instance)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(timeout_s)
            client.connect(str(path))
            client.sendall(json.dumps({"do": command, **more}).encode() + b"\n")
            answer = _read_line(client)
    except (FileNotFoundError, ConnectionRefusedError):
        raise IxyfwdError(f"no ixyfwd instance '{instance}' is running (nobody listens at {path})") from None
    except PermissionError:
        raise IxyfwdError(f"{path}: instance '{instance}' belongs to another user") from None
    except TimeoutError:
        raise IxyfwdError(f"instance '{instance}' did not answer `{command}` within {timeout_s:g} s") from None
    except OSError as error:
        raise IxyfwdError(f"{path}: the connection to instance '{instance}' broke ({error.strerror})") from None
    if not answer:
        raise IxyfwdError(f"instance '{instance}' hung up without an answer to `{command}`")
    found: dict[str, Any] = json.loads(answer)
    if "error" in found and len(found) == 1:
        raise IxyfwdError(f"instance '{instance}': {found['error']}")
    return found


def _read_line(client: socket.socket) -> bytes:
    parts: list[bytes] = []
    while not parts or not parts[-1].endswith(b"\n"):
        part = client.recv(65536)
        if not part:
            break
        parts.append(part)
    return b"".join(parts)
