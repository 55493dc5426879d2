"""Alternative names of interfaces (`ip link property add dev NAME altname OTHER`), which sysfs does not show."""

import socket
import struct
from collections.abc import Iterator
from typing import Final

# linux/netlink.h, linux/rtnetlink.h and linux/if_link.h
_RTM_NEWLINK, _RTM_GETLINK = 16, 18
_DUMP_REQUEST: Final = 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_IFLA_IFNAME, _IFLA_PROP_LIST, _IFLA_ALT_IFNAME = 3, 52, 53
_TYPE_BITS: Final = 0x3FFF  # of an attribute; the others say how it is coded
_HEADER: Final = struct.Struct("=IHHII")
_LINK_BYTES: Final = 16  # struct ifinfomsg
_ATTRIBUTE: Final = struct.Struct("=HH")
_ANSWER_S: Final = 2.0
_ANSWER_BYTES: Final = 1 << 18


def alternative_names() -> dict[str, tuple[str, ...]]:
    """The alternative names of the interfaces of this network namespace, by interface.

    Empty where the kernel does not tell.
    """
    try:
        return dict(_links(_dump()))
    except (OSError, struct.error):
        return {}


def _dump() -> Iterator[bytes]:
    """The kernel's messages about all links, in pieces that hold whole ones."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as rtnetlink:
        rtnetlink.settimeout(_ANSWER_S)
        rtnetlink.bind((0, 0))
        request = _HEADER.pack(_HEADER.size + _LINK_BYTES, _RTM_GETLINK, _DUMP_REQUEST, 1, 0) + bytes(_LINK_BYTES)
        rtnetlink.send(request)
        while piece := rtnetlink.recv(_ANSWER_BYTES):
            yield piece


def _links(pieces: Iterator[bytes]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for piece in pieces:
        at = 0
        while at + _HEADER.size <= len(piece):
            length, kind, *_ = _HEADER.unpack_from(piece, at)
            if kind in (_NLMSG_DONE, _NLMSG_ERROR) or length < _HEADER.size:
                return
            if kind == _RTM_NEWLINK:
                yield _link(piece[at + _HEADER.size + _LINK_BYTES : at + length])
            at += (length + 3) & ~3


def _link(data: bytes) -> tuple[str, tuple[str, ...]]:
    name, others = "", []
    for kind, value in _attributes(data):
        if kind == _IFLA_IFNAME:
            name = _text(value)
        elif kind == _IFLA_PROP_LIST:
            others += [_text(one) for inner, one in _attributes(value) if inner == _IFLA_ALT_IFNAME]
    return name, tuple(others)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & _TYPE_BITS, data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) & ~3


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")
