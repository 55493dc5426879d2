"""A session with the model's vfio-user server, message by message."""

import socket

from ixyfwd.errors import RefusedError
from ixyfwd.model.spec import ModelSpec
from ixyfwd.vfiouser.client import Client
from ixyfwd.vfiouser.protocol import HEADER_BYTES, Header, Region, VfioUserCommand
from ixyfwd.vfiouser.version import our_version
from tests.testing.support import eventually

PAGE = 4096


def read32(client: Client, offset: int) -> int:
    return int.from_bytes(client.region_read(Region.BAR0, offset, 4), "little")


def connected(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)
    sock.settimeout(5)
    return sock


def drain(sock: socket.socket) -> None:
    """Say goodbye and wait until the server has dealt with everything."""
    sock.shutdown(socket.SHUT_WR)
    while sock.recv(65536):
        pass


def hello() -> bytes:
    payload = our_version().pack()
    return Header(1, VfioUserCommand.VERSION, HEADER_BYTES + len(payload)).pack() + payload


def assert_still_serves(spec: ModelSpec) -> None:
    def served() -> bool:
        try:
            client = Client(spec.ports[0].socket, "next")
        except RefusedError:
            return False  # the one before is being put away
        assert read32(client, 8) & 1 << 19
        client.close()
        return True

    eventually(served, "the next client is served")
