"""Misbehaviour on demand: the list of what can be injected into a port, and the reading of `key=value` parameters.

Not to be confused with `faults`: those are a driver's mistakes that the model records, these are the model's own,
made because a user asked for them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ixyfwd.errors import UsageError

Value = int | float | str | None
QUEUES: Final = 128


@dataclass(frozen=True)
class Parameter:
    """A number from `low` to `high`, or one of `choices`. A default of None means what `text` says."""

    name: str
    default: Value
    text: str
    low: float = 0
    high: float = 0
    whole: bool = True
    choices: tuple[str, ...] = ()

    def read(self, kind: str, found: object) -> Value:
        """The value of a text or a JSON number. Raises UsageError."""
        if found is None and self.default is None:
            return None
        if self.choices:
            if found in self.choices:
                return str(found)
            raise UsageError(f"{kind}: {self.name}={found}, expected one of {', '.join(self.choices)}")
        try:
            number = float(str(found))
        except ValueError:
            number = float("nan")
        if not self.low <= number <= self.high or (self.whole and number != int(number)):
            sort = "a whole number" if self.whole else "a number"
            raise UsageError(f"{kind}: {self.name}={found}, expected {sort} from {self.low:g} to {self.high:g}")
        return int(number) if self.whole else number


@dataclass(frozen=True)
class Kind:
    """Something that can be injected. `ends`: how it ends besides `off` and `seconds`."""

    name: str
    text: str
    parameters: tuple[Parameter, ...] = ()
    ends: str = ""

    @property
    def all_parameters(self) -> tuple[Parameter, ...]:
        """The parameters of this kind, and those that every kind has."""
        return (*self.parameters, SECONDS)


SECONDS: Final = Parameter(
    "seconds", None, "end by itself after so long; default: lasts until off", 0.001, 86400, False
)
_QUEUE: Final = Parameter("queue", None, "one queue; default: all", 0, QUEUES - 1)
_DIRECTION: Final = Parameter(
    "direction", "both", "rx (towards the driver), tx (towards the wire) or both", choices=("rx", "tx", "both")
)
_MOST: Final = 1 << 48
_NO_YES: Final = ("no", "yes")

OF_CARD: Final = (
    Kind(
        "phy-low-power",
        "X540, X550: the PHY is in low power, as Linux leaves it when an interface is closed: no link",
        ends="when a driver clears the bit (MDIO device 0x1E, register 0)",
    ),
    Kind(
        "firmware-error",
        "FWSM shows an error of the firmware; everything works all the same",
        (
            Parameter("indication", 0x23, "FWSM.EXT_ERR_IND", 1, 63),
            Parameter("recovery", "no", "X550: also its recovery mode, in which a card does not work", choices=_NO_YES),
        ),
    ),
    Kind(
        "management",
        "a management controller (BMC) shares the port: MMNGC vetoes changes of the link; counts the times that "
        "software changed it nevertheless, by AUTOC or a reset that includes the link, and cut the controller off",
    ),
    Kind("crosstalk", "82599: the cage is empty (SDP2 0), the NVM asks to look at it, and LINKS shows a link"),
    Kind(
        "link-glitch",
        "while there is no link, LINKS shows one for a moment when it is read; counts the moments",
        (
            Parameter("ms", 2, "how long the moment lasts", 1, 60_000),
            Parameter("every-ms", 500, "from one to the next", 1, 3_600_000),
        ),
    ),
    Kind("reset-keeps", "a reset by CTRL leaves every plain register as it is; counts the resets"),
    Kind(
        "reset-silence",
        "after a reset by CTRL all reads are all ones for a while, and writes are lost; counts the resets",
        (Parameter("ms", 5, "for so long", 1, 10_000),),
    ),
)
"""Ways of a card that are not those of its data path (`card.py`)."""

KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("link-down", "the cable is pulled: LINKS and EICR.LSC say so, nothing moves; counts the links lost"),
        Kind(
            "link-flap",
            "the cable is pulled and plugged in again; counts the pulls",
            (
                Parameter("period-ms", 1000, "from pull to pull; half of it without a cable", 2, 3_600_000),
                Parameter("count", None, "pulls; default: until off", 1, _MOST),
            ),
            "after `count` pulls",
        ),
        Kind(
            "slow-link",
            "every link-up takes longer; counts them",
            (Parameter("delay-ms", 1000, "longer by so much", 1, 600_000),),
        ),
        Kind(
            "rx-stall", "received frames reach no descriptor: sources that can wait do, others lose frames", (_QUEUE,)
        ),
        Kind("tx-stall", "TDH stands still", (_QUEUE,)),
        Kind(
            "stuck-dd",
            "data moves and heads advance, but DD is not written until off; counts descriptors",
            (_QUEUE, _DIRECTION),
        ),
        Kind(
            "late-write-back",
            "write-backs are collected and made together, `us` after the first of them; counts descriptors",
            (Parameter("us", 1000, "microseconds", 1, 60_000_000), _QUEUE, _DIRECTION),
        ),
        Kind(
            "reorder",
            "write-backs of one rx queue are overtaken by those of the others; counts descriptors",
            (
                Parameter("queue", 0, "the queue that is overtaken", 0, QUEUES - 1),
                Parameter("descriptors", 32, "written back at other queues first", 1, _MOST),
                Parameter("us", 100_000, "but it waits no longer than so many microseconds", 1, 60_000_000),
            ),
        ),
        Kind(
            "corrupt",
            "bits of frames flip; counts the frames",
            (
                _DIRECTION,
                Parameter("every", 100, "every n-th frame", 1, _MOST),
                Parameter("probability", None, "of each frame, instead of `every`", 1e-9, 1, False),
                Parameter("seed", 1, "for `probability`", 1, _MOST),
                Parameter("offset", 50, "byte of the frame; of a shorter frame its last one", 0, 16383),
                Parameter("bits", 128, "those of the byte that flip", 1, 255),
                Parameter("count", None, "frames in each direction; default: until off", 1, _MOST),
            ),
            "after `count` frames",
        ),
        Kind("device-gone", "all reads are all ones, writes and DMA end; when it is off the port is as after a reset"),
        Kind("reset-hang", "CTRL.RST and LNK_RST stay 1 once written; counts the resets that do not end"),
        Kind("smbi-held", "SWSM.SMBI reads 1 for ever; counts the reads that it turned away"),
        Kind(
            "lost-doorbell",
            "a tail that was written is not seen until the next write; counts them",
            (Parameter("every", 2, "every n-th write", 1, _MOST), _QUEUE, _DIRECTION),
        ),
        Kind("eeprom-checksum", "NVM word 0x3F is wrong; restored when it is off"),
        *OF_CARD,
    )
}


def find_kind(name: str) -> Kind:
    """The kind called `name`. Raises UsageError if there is none."""
    if name not in KINDS:
        raise UsageError(f"no misbehaviour is called {name!r}, expected one of {', '.join(KINDS)}")
    return KINDS[name]


def read_parameters(kind: Kind, given: Mapping[str, object]) -> dict[str, Value]:
    """Every parameter of the kind with its value. Raises UsageError for one that it does not have, or a wrong value."""
    known = {parameter.name: parameter for parameter in kind.all_parameters}
    for name in given:
        if name not in known:
            raise UsageError(f"{kind.name} has no parameter {name!r}, expected {', '.join(known)}")
    return {name: parameter.read(kind.name, given.get(name, parameter.default)) for name, parameter in known.items()}


def split_words(kind: Kind, words: Sequence[str]) -> dict[str, str]:
    """`key=value` words as a dict. Raises UsageError."""
    given: dict[str, str] = {}
    for word in words:
        name, separator, value = word.partition("=")
        if not separator or not value:
            raise UsageError(f"{kind.name}: found {word!r}, expected key=value or off")
        if name in given:
            raise UsageError(f"{kind.name}: {name} is given twice")
        given[name] = value
    return given
