"""The vfio-user socket of one port: one client at a time, a clear refusal for the others."""

import socket

from ixyfwd.kit.listener import BACKLOG, Listener
from ixyfwd.kit.loop import Loop
from ixyfwd.model.port import SimulatedPort
from ixyfwd.vfiouser.channel import Channel
from ixyfwd.vfiouser.server import Session

MAX_REFUSED = 8  # connections that still wait to be told no
REST_S = 0.25  # between two looks at connections for which no descriptor was left


class PortServer:
    """The vfio-user socket of a port. It listens as long as it lives; a port without a client is as after power-on."""

    def __init__(self, port: SimulatedPort, path: str, loop: Loop) -> None:
        """Raises what Listener raises."""
        self._port = port
        self._loop = loop
        self._listener = Listener(path)
        self._sessions: dict[int, Session] = {}
        self._owner: Session | None = None
        self._closed = False
        loop.watch(self._listener.fileno(), self._accept)

    @property
    def connected(self) -> bool:
        """Whether a client has the port."""
        return self._owner is not None

    def _accept(self) -> None:
        for _ in range(BACKLOG):
            try:
                connection = self._listener.accept_one()
            except OSError:  # no descriptor is left; those who come wait in the kernel's queue
                self._listen(False)
                self._loop.call_at(self._loop.clock() + REST_S, lambda: self._listen(True))
                return
            if connection is None:
                return
            self._take(connection)

    def _listen(self, on: bool) -> None:
        if not self._closed:
            self._loop.wait_for(self._listener.fileno(), read=on, write=False)

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
        self._closed = True
        for session in list(self._sessions.values()):
            self._end(session)
        self._loop.forget(self._listener.fileno())
        self._listener.close()
