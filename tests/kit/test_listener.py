"""Sockets that only their owner may use, that replace stale ones and leave no file behind."""

import os
import socket
from pathlib import Path

import pytest

from ixyfwd.errors import IxyfwdError, RefusedError, UsageError
from ixyfwd.kit.listener import Listener
from tests.testing.siege import connected


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    listener = Listener(path)
    connected(path).close()
    listener.close()
    assert not os.path.exists(path)


def test_a_live_socket_is_left_alone(tmp_path: Path) -> None:
    first = Listener(str(tmp_path / "s"))
    with pytest.raises(RefusedError, match="another process listens there"):
        Listener(str(tmp_path / "s"))
    connected(first.path).close()
    first.close()


def test_a_listener_whose_queue_is_full_is_left_alone(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(path)
        busy.listen(0)
        waiting = connected(path)
        with pytest.raises(RefusedError, match="another process listens there"):
            Listener(path)
        waiting.close()
    assert os.path.exists(path)


def test_the_socket_of_another_listener_is_not_removed(tmp_path: Path) -> None:
    first = Listener(str(tmp_path / "s"))
    os.unlink(first.path)
    second = Listener(str(tmp_path / "s"))
    first.close()
    connected(second.path).close()
    second.close()


def test_paths_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(UsageError, match="a file that is not a socket is there"):
        Listener(str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "precious"
    with pytest.raises(UsageError, match="longer than 107 bytes"):
        Listener(str(tmp_path / ("x" * 200)))
    with pytest.raises(IxyfwdError, match=r"cannot listen on .*No such file"):
        Listener(str(tmp_path / "no" / "folder"))
