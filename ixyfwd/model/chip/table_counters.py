"""The statistics registers (datasheet 8.2.3.23) and where their values come from."""

from dataclasses import dataclass
from typing import Literal

from ixyfwd.model.chip.registers import RegisterCells as R

Part = Literal["whole", "low", "high"]


@dataclass(frozen=True, slots=True)
class CounterSource:
    """A counter of the data path by name; `part` says which half of a 36-bit counter a register shows."""

    counter: str
    part: Part = "whole"


_SCALARS = (  # counted by the data path: register, offset, counter
    ("CRCERRS", 0x04000, "crcerrs"),
    ("MSPDC", 0x04010, "mspdc"),
    ("RLEC", 0x04040, "rlec"),
    ("PRC64", 0x0405C, "prc64"),
    ("PRC127", 0x04060, "prc127"),
    ("PRC255", 0x04064, "prc255"),
    ("PRC511", 0x04068, "prc511"),
    ("PRC1023", 0x0406C, "prc1023"),
    ("PRC1522", 0x04070, "prc1522"),
    ("GPRC", 0x04074, "gprc"),
    ("BPRC", 0x04078, "bprc"),
    ("MPRC", 0x0407C, "mprc"),
    ("GPTC", 0x04080, "gptc"),
    ("RUC", 0x040A4, "ruc"),
    ("RFC", 0x040A8, "rfc"),
    ("ROC", 0x040AC, "roc"),
    ("RJC", 0x040B0, "rjc"),
    ("TPR", 0x040D0, "tpr"),
    ("TPT", 0x040D4, "tpt"),
    ("PTC64", 0x040D8, "ptc64"),
    ("PTC127", 0x040DC, "ptc127"),
    ("PTC255", 0x040E0, "ptc255"),
    ("PTC511", 0x040E4, "ptc511"),
    ("PTC1023", 0x040E8, "ptc1023"),
    ("PTC1522", 0x040EC, "ptc1522"),
    ("MPTC", 0x040F0, "mptc"),
    ("BPTC", 0x040F4, "bptc"),
    ("XEC", 0x04120, "xec"),
    ("RXNFGPC", 0x041B0, "rxnfgpc"),
    ("RXDGPC", 0x02F50, "rxdgpc"),
    ("TXDGPC", 0x087A0, "txdgpc"),
    ("FDIRMATCH", 0x0EE58, "fdirmatch"),
    ("FDIRMISS", 0x0EE5C, "fdirmiss"),
    ("LXONRXCNT", 0x041A4, "lxonrxcnt"),
    ("LXOFFRXCNT", 0x041A8, "lxoffrxcnt"),
    ("LXONTXC", 0x03F60, "lxontxc"),
    ("LXOFFTXC", 0x03F68, "lxofftxc"),
)
_PAIRS = (  # 36 bits in two registers: name without L/H, offset of the low half, counter
    ("GORC", 0x04088, "gorc"),
    ("GOTC", 0x04090, "gotc"),
    ("TOR", 0x040C0, "tor"),
    ("RXNFGBC", 0x041B4, "rxnfgbc"),
    ("RXDGBC", 0x02F54, "rxdgbc"),
    ("TXDGBC", 0x087A4, "txdgbc"),
)
# One per counter number: register, offset, count, stride, counter, part
_RUNS: tuple[tuple[str, int, int, int, str, Part], ...] = (
    ("QPRC", 0x01030, 16, 0x40, "qprc", "whole"),
    ("QBRC_L", 0x01034, 16, 0x40, "qbrc", "low"),
    ("QBRC_H", 0x01038, 16, 0x40, "qbrc", "high"),
    ("QPRDC", 0x01430, 16, 0x40, "qprdc", "whole"),
    ("QPTC", 0x06030, 16, 0x40, "qptc", "whole"),
    ("QBTC_L", 0x08700, 16, 8, "qbtc", "low"),
    ("QBTC_H", 0x08704, 16, 8, "qbtc", "high"),
    ("RXMPC", 0x03FA0, 8, 4, "rxmpc", "whole"),
)
_NEVER = (  # what this model never sees happen stays 0: register, offset, count
    ("ILLERRC", 0x04004, 1),
    ("ERRBC", 0x04008, 1),
    ("MLFC", 0x04034, 1),
    ("MRFC", 0x04038, 1),
    ("MNGPRC", 0x040B4, 1),
    ("MNGPDC", 0x040B8, 1),
    ("MNGPTC", 0x0CF90, 1),
    ("PXONTXC", 0x03F00, 8),
    ("PXOFFTXC", 0x03F20, 8),
    ("PXONRXCNT", 0x04140, 8),
    ("PXOFFRXCNT", 0x04160, 8),
    ("PXON2OFFCNT", 0x03240, 8),
    ("RXDDPC", 0x02F5C, 1),
    ("RXDDBC", 0x02F60, 2),
    ("RXLPBKPC", 0x02F68, 1),
    ("RXLPBKBC", 0x02F6C, 2),
    ("RXDLPBKPC", 0x02F74, 1),
    ("RXDLPBKBC", 0x02F78, 2),
    ("SSVPC", 0x08780, 1),
    ("FCCRC", 0x05118, 1),
    ("FCOERPDC", 0x0241C, 1),
    ("FCLAST", 0x02424, 1),
    ("FCOEPRC", 0x02428, 1),
    ("FCOEDWRC", 0x0242C, 1),
    ("FCOEPTC", 0x08784, 1),
    ("FCOEDWTC", 0x08788, 1),
    ("LSECTX", 0x08A3C, 5),
    ("LSECRX", 0x08F40, 17),
)


def _halves() -> tuple[tuple[str, int, str, Part], ...]:
    low: Part = "low"
    high: Part = "high"
    lower = [(f"{name}L", offset, counter, low) for name, offset, counter in _PAIRS]
    upper = [(f"{name}H", offset + 4, counter, high) for name, offset, counter in _PAIRS]
    return (*lower, *upper)


COUNTERS = (
    *(R(name, offset, read="counter", write="ro") for name, offset, _ in _SCALARS),
    *(R(name, offset, read="counter", write="ro") for name, offset, _, _ in _halves()),
    *(R(name, offset, count, stride, read="counter", write="ro") for name, offset, count, stride, _, _ in _RUNS),
    *(R(name, offset, count, read="clear", write="ro") for name, offset, count in _NEVER),
    R("QPTC", 0x08680, 16, alias=True),
)

SOURCES: dict[str, CounterSource] = {
    **{name: CounterSource(counter) for name, _, counter in _SCALARS},
    **{name: CounterSource(counter, part) for name, _, counter, part in _halves()},
    **{name: CounterSource(counter, part) for name, _, _, _, counter, part in _RUNS},
}
