"""The vfio-user socket of one port: one client at a time, a clear refusal for the others."""

import socket

from ixyfwd.kit.listener import Listener
from ixyfwd.kit.loop import Loop
from ixyfwd.model.port import Port
from ixyfwd.vfiouser.channel import Channel
from ixyfwd.vfiouser.server import Session

MAX_REFUSED = 8  # connections that still wait to be told no


class PortServer:
    """Listens as long as it lives; a port without a client is as after power-on."""

    def __init__(self, port: Port, path: str, loop: Loop) -> None:
        """Raises what Listener raises."""
        self._port = port
        self._loop = loop
        self._listener = Listener(path)
        self._sessions: dict[int, Session] = {}
        self._owner: Session | None = None
        loop.watch(self._listener.fileno(), self._accept)

    @property
    def connected(self) -> bool:
        """Whether a client has the port."""
        return self._owner is not None

    def _accept(self) -> None:
        for connection in self._listener.accept():
            self._take(connection)

    def _take(self, connection: socket.socket) -> None:
        if len(self._sessions) > MAX_REFUSED:
            connection.close()
            return
        session = Session(Channel(connection), None if self._owner else self._port, self._port.name)
        if self._owner is None:
            self._owner = session
        self._sessions[session.channel.fileno()] = session
        self._loop.watch(session.channel.fileno(), lambda: self._serve(session))

    def _serve(self, session: Session) -> None:
        if session.serve():
            self._loop.wait_for(session.channel.fileno(), read=True, write=session.channel.wants_to_send)
        else:
            self._end(session)

    def _end(self, session: Session) -> None:
        fd = session.channel.fileno()
        self._loop.forget(fd)
        del self._sessions[fd]
        session.channel.close()
        if session is self._owner:
            self._owner = None
            self._port.disconnect()

    def close(self) -> None:
        """Drop the clients, remove the socket."""
        for session in list(self._sessions.values()):
            self._end(session)
        self._loop.forget(self._listener.fileno())
        self._listener.close()
