"""Dumps of Linux's ixgbe: what `ethtool -d` prints, and the words of `ethtool -d DEV raw on`.

The text has a line per register, "0x042A4: LINKS (Link Status register) 0x7CA0A0F0"; its
offsets are those of the 82598 in places, so the names decide. The words are those of the
kernel's `ixgbe_get_regs`, without a name or a device id.
"""

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from ixyfwd.nic.ixgbe.register import Register
from ixyfwd.nic.ixgbe.table import COUNTER_SECTION, counters, tables, value_of
from ixyfwd.nic.report import RegisterValue

DUMPS: Final = "what `ethtool -d DEV` or `ethtool -d DEV raw on` prints for a port that Linux's ixgbe drives"
RAW_WORDS: Final = (1129, 1139, 1145, 1147)  # of kernels from 2.6.34 on
_LONGEST_TEXT_BYTES: Final = 1 << 20
_FEWEST_LINES: Final = 20  # of the hundreds of a real dump

_LINE: Final = re.compile(r"0x([0-9A-Fa-f]{5}): ([A-Za-z][A-Za-z0-9_]*).*[ )]0x([0-9A-Fa-f]{8})\s*")
# Names of the tool, and of the table. CCTV is a slip of the tool's; LXONRXC and the like are the 82598's.
_RENAMED: Final[Mapping[str, str]] = {
    "FCCTV": "FCTTV", "MHADD": "MAXFRS", "MPC": "RXMPC", "GORCL": "GORC", "GOTCL": "GOTC", "TORL": "TOR",
    "LXONRXC": "LXONRXCNT", "LXOFFRXC": "LXOFFRXCNT",
}  # fmt: skip
# The tool prints these from one word for all, or from another register's.
_MISPRINTED: Final = ("RTTPT2C", "EICR", "SRRCTL0")

# Where a table lies among the kernel's words: its first word and how many there are.
_WORDS: Final = (
    ("CTRL", 0, 1), ("STATUS", 1, 1), ("CTRL_EXT", 2, 1), ("ESDP", 3, 1), ("EEC", 8, 1), ("EERD", 9, 1),
    ("EIMS", 20, 1), ("EIAC", 22, 1), ("EITR", 24, 1), ("IVAR", 25, 1), ("GPIE", 29, 1), ("FCTTV", 31, 4),
    ("FCRTL", 35, 8), ("FCRTH", 43, 8), ("FCRTV", 51, 1), ("RDBAL", 53, 64), ("RDBAH", 117, 64), ("RDLEN", 181, 64),
    ("RDH", 245, 64), ("RDT", 309, 64), ("RXDCTL", 373, 64), ("SRRCTL", 437, 16), ("DCA_RXCTRL", 453, 16),
    ("RDRXCTL", 469, 1), ("RXPBSIZE", 470, 8), ("RXCTRL", 478, 1), ("RXCSUM", 480, 1), ("RFCTL", 481, 1),
    ("RAL", 482, 16), ("RAH", 498, 16), ("PSRTYPE", 514, 1), ("FCTRL", 515, 1), ("VLNCTRL", 516, 1),
    ("MCSTCTRL", 517, 1), ("MRQC", 518, 1), ("TDBAL", 537, 32), ("TDBAH", 569, 32), ("TDLEN", 601, 32),
    ("TDH", 633, 32), ("TDT", 665, 32), ("TXDCTL", 697, 32), ("TDWBAL", 729, 32), ("TDWBAH", 761, 32),
    ("TXPBSIZE", 811, 8), ("FCCFG", 829, 1), ("RTTDCS", 830, 1), ("CRCERRS", 881, 1), ("ILLERRC", 882, 1),
    ("ERRBC", 883, 1), ("MSPDC", 884, 1), ("RXMPC", 885, 8), ("MLFC", 893, 1), ("MRFC", 894, 1), ("RLEC", 895, 1),
    ("LXONTXC", 896, 1), ("LXONRXCNT", 897, 1), ("LXOFFTXC", 898, 1), ("LXOFFRXCNT", 899, 1), ("GPRC", 938, 1),
    ("BPRC", 939, 1), ("MPRC", 940, 1), ("GPTC", 941, 1), ("RUC", 954, 1), ("RFC", 955, 1), ("ROC", 956, 1),
    ("RJC", 957, 1), ("TPR", 963, 1), ("TPT", 964, 1), ("XEC", 973, 1), ("QPRC", 974, 16), ("QPTC", 990, 16),
    ("PCS1GANLP", 1044, 1), ("HLREG0", 1047, 1), ("MSCA", 1054, 1), ("MSRWD", 1055, 1), ("MAXFRS", 1057, 1),
    ("AUTOC", 1064, 1), ("LINKS", 1065, 1), ("AUTOC2", 1066, 1), ("ANLP1", 1068, 1), ("MFLCN", 1128, 1),
    ("RTRUP2TC", 1129, 1), ("SECRXCTRL", 1143, 1), ("SECRXSTAT", 1144, 1), ("DMATXCTL", 1145, 1),
)  # fmt: skip


def decode(data: bytes) -> Sequence[RegisterValue] | None:
    """The registers of a dump, in its order; None for anything else."""
    if len(data) % 4 == 0 and len(data) // 4 in RAW_WORDS and b"\0" in data:
        return tuple(_of_words(struct.unpack(f"<{len(data) // 4}I", data)))
    if len(data) > _LONGEST_TEXT_BYTES:
        return None
    lines = [found for line in data.decode("ascii", "replace").splitlines() if (found := _LINE.fullmatch(line))]
    if len(lines) < _FEWEST_LINES:
        return None
    return tuple(_of_line(int(line[1], 16), line[2], int(line[3], 16)) for line in lines)


def _of_words(words: Sequence[int]) -> Iterator[RegisterValue]:
    for table, first, count in _WORDS:
        for index in range(count):
            if first + index < len(words):
                found = _known(table, index, words[first + index])
                if found is not None:
                    yield found


def _of_line(offset: int, name: str, word: int) -> RegisterValue:
    """A line's register: known by its name, with the index at its end, or else as it is printed."""
    base = name.rstrip("0123456789")
    note = "printed wrongly by ethtool" if name in _MISPRINTED or base in _MISPRINTED else ""
    candidates = [(name.upper(), 0)]
    if base != name:
        candidates.append((base.upper(), int(name[len(base) :])))
    for table, index in candidates:
        found = _known(_RENAMED.get(table, table), index, word, note)
        if found is not None:
            return found
    return RegisterValue(base.upper(), name.upper(), offset, word, (), "", note or "not in ixyfwd's table")


def _known(table: str, index: int, word: int, note: str = "") -> RegisterValue | None:
    row = _rows().get(table)
    if row is not None:
        return value_of(row, index, word, note) if index < row.count else None
    places = [(at, offset) for name, at, offset in counters() if name == table]
    offset = dict(places).get(index)
    if offset is None:
        return None
    full = f"{table}[{index}]" if len(places) > 1 else table
    return RegisterValue(table, full, offset, word, (), COUNTER_SECTION, note or "counted by Linux since it started")


def _rows() -> dict[str, type[Register]]:
    return {row.__name__: row for row in tables()}
