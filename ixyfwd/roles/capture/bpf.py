"""Capture filters by the installed libpcap: compiled by it, run by it. Opened at run time: only filters need it."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ixyfwd.errors import IxyfwdError, UsageError

_LIBRARIES: Final = ("libpcap.so.1", "libpcap.so.0.8")  # upstream's name and Debian's
_DLT_EN10MB: Final = 1
_NETMASK_UNKNOWN: Final = 0xFFFFFFFF
_WHOLE_FRAME_BYTES: Final = 65535

Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, k


class _Insn(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.POINTER(_Insn)))


@dataclass(frozen=True)
class LoadedFilter:
    """Addresses of bpf_filter and of a program for it; `keeps` must live as long as they are used."""

    function: int
    program: int
    keeps: tuple[object, ...]


def compile_filter(expression: str) -> tuple[Instruction, ...]:
    """The program of a pcap-filter(7) expression for Ethernet. Raises UsageError with libpcap's own words."""
    library = _library()
    library.pcap_open_dead.restype = ctypes.c_void_p
    library.pcap_geterr.restype = ctypes.c_char_p
    handle = ctypes.c_void_p(library.pcap_open_dead(_DLT_EN10MB, _WHOLE_FRAME_BYTES))
    program = _Program()
    try:
        text = expression.encode()
        if b"\0" in text or library.pcap_compile(
            handle, ctypes.byref(program), text, 1, ctypes.c_uint(_NETMASK_UNKNOWN)
        ):
            reason = library.pcap_geterr(handle).decode(errors="replace") or "a zero byte"
            raise UsageError(f"--filter: found {expression!r} ({reason}), expected an expression as in pcap-filter(7)")
        instructions = [program.instructions[i] for i in range(program.length)]
        compiled = tuple((i.code, i.jt, i.jf, i.k) for i in instructions)
        library.pcap_freecode(ctypes.byref(program))
        return compiled
    finally:
        library.pcap_close(handle)


def load_filter(instructions: Sequence[Instruction]) -> LoadedFilter:
    """Make a compiled filter callable in this process. Raises IxyfwdError without libpcap."""
    library = _library()
    program = (_Insn * len(instructions))(*(_Insn(*instruction) for instruction in instructions))
    function = ctypes.cast(library.bpf_filter, ctypes.c_void_p).value or 0
    return LoadedFilter(function, ctypes.addressof(program), (library, program))


def _library() -> ctypes.CDLL:
    for name in _LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise IxyfwdError("--filter needs libpcap, and there is none on this machine; install it (Debian: libpcap0.8)")
