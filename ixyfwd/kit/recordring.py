"""A ring of numbered records in a file, which outlives the process that writes and which others read meanwhile.

A record is `RECORD_BYTES` long: its number (uint64, from 1 on), the length of its
content (uint32), a checksum of both and the content (uint32), the content. Record n is
in slot n modulo the number of slots. A reader takes what the checksum says is whole, so
it needs no lock. The file is written with pwrite and not through a mapping: on a full
file system that is an error and not a signal.
"""

import os
import stat
import struct
import zlib
from pathlib import Path
from typing import Final

from ixyfwd.errors import RefusedError

RECORD_BYTES: Final = 512
SLOTS: Final = 512
_HEAD: Final = struct.Struct("<QII")
CONTENT_BYTES_MAX: Final = RECORD_BYTES - _HEAD.size
_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class RecordRing:
    """The writer of a ring; there is one at a time. It goes on with the numbers of the file that it finds."""

    def __init__(self, path: Path) -> None:
        """Open the file, 0600 if it is new. Raises OSError, and RefusedError for what is not a file of this user."""
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
        try:
            _check(self._fd, path)
            found = _records(_content(self._fd))
        except BaseException:
            os.close(self._fd)
            raise
        self._next = found[-1][0] + 1 if found else 1

    @property
    def next_number(self) -> int:
        """The number of the record that comes next."""
        return self._next

    def append(self, content: bytes) -> None:
        """Write a record over the oldest one. Raises OSError, and ValueError for more than CONTENT_BYTES_MAX bytes."""
        if len(content) > CONTENT_BYTES_MAX:
            raise ValueError(f"a record of {len(content)} bytes, expected at most {CONTENT_BYTES_MAX}")
        record = _HEAD.pack(self._next, len(content), _checksum(self._next, content)) + content
        os.pwrite(self._fd, record.ljust(RECORD_BYTES, b"\0"), self._next % SLOTS * RECORD_BYTES)
        self._next += 1

    def close(self) -> None:
        """Close the file; it stays. Harmless when called twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def read_records(path: Path) -> list[tuple[int, bytes]]:
    """The whole records of a ring with their numbers, the oldest first. Raises OSError, and RefusedError as above."""
    fd = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        _check(fd, path)
        return _records(_content(fd))
    finally:
        os.close(fd)


def _check(fd: int, path: Path) -> None:
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_uid not in {0, os.geteuid()}:
        raise RefusedError(f"{path} is not a file of this user; remove it")


def _content(fd: int) -> bytes:
    return os.pread(fd, SLOTS * RECORD_BYTES, 0)


def _records(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    for at in range(0, len(data) - _HEAD.size + 1, RECORD_BYTES):
        number, length, checksum = _HEAD.unpack_from(data, at)
        content = data[at + _HEAD.size : at + _HEAD.size + length]
        is_whole = length <= CONTENT_BYTES_MAX and len(content) == length and checksum == _checksum(number, content)
        if number and number % SLOTS * RECORD_BYTES == at and is_whole:
            found.append((number, content))
    return sorted(found)


def _checksum(number: int, content: bytes) -> int:
    return zlib.crc32(content, zlib.crc32(_HEAD.pack(number, len(content), 0)))
