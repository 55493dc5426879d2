"""Receive-side scaling: keys, hash, redirection table, and the prediction of a flow's queue.

All families that hash share this: the Toeplitz hash of the fields that Microsoft
defined for NDIS, and a table of queue numbers that its low bits index. Each family
programs key and table into its devices.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ixyfwd.errors import UsageError
from ixyfwd.nic.flow import Flow
from ixyfwd.nic.limits import widest
from ixyfwd.nic.words import either

KEY_BYTES: Final = 40
RETA_SIZES: Final = widest().reta_sizes
RETA_ENTRIES: Final = 128  # as long as no device has been asked
MAX_QUEUES: Final = widest().queues

SYMMETRIC_KEY: Final = bytes.fromhex("6d5a") * 20
"""A key with a period of 16 bits: source and destination may be swapped, so both directions share a queue."""

MICROSOFT_KEY: Final = bytes.fromhex("6d5a56da255b0ec24167253d43a38fb0d0ca2bcbae7b30b477cb2da38030f20c6a42b73bbeac01fa")


@dataclass(frozen=True)
class HashField:
    """A kind of frame whose hashing can be switched on."""

    name: str
    version: int
    protocol: str | None  # None = addresses only


FIELDS: Final = (
    HashField("tcp4", 4, "tcp"),
    HashField("udp4", 4, "udp"),
    HashField("ipv4", 4, None),
    HashField("tcp6", 6, "tcp"),
    HashField("udp6", 6, "udp"),
    HashField("ipv6", 6, None),
)
"""In the order in which devices try them: ports before addresses only."""

FIELD_NAMES: Final = ("ipv4", "tcp4", "udp4", "ipv6", "tcp6", "udp6")


@dataclass(frozen=True)
class RssOptions:
    """The RSS options of a port. Making one raises UsageError for options that make no sense.

    queues: 1 to MAX_QUEUES; queue q belongs to worker q. key: `symmetric`, `microsoft`
    or 80 hexadecimal digits. fields: the kinds of frame that are hashed, from
    FIELD_NAMES. reta: queue numbers instead of an even spread, as many as the device
    has entries.
    """

    queues: int = 1
    key: str = "symmetric"
    fields: tuple[str, ...] = FIELD_NAMES
    reta: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.queues <= MAX_QUEUES:
            raise UsageError(f"RSS spreads over 1 to {MAX_QUEUES} queues, not {self.queues}")
        key_bytes(self.key)
        for name in self.fields:
            if name not in FIELD_NAMES:
                raise UsageError(f"{name!r} is not an RSS field; expected some of {', '.join(FIELD_NAMES)}")
        if self.reta is not None and len(self.reta) not in RETA_SIZES:
            raise UsageError(f"an RSS redirection table has {either(RETA_SIZES)} entries, not {len(self.reta)}")
        for queue in self.reta or ():
            if not 0 <= queue < self.queues:
                raise UsageError(f"the RSS redirection table names queue {queue}; expected 0 to {self.queues - 1}")

    def table(self, entries: int = RETA_ENTRIES) -> tuple[int, ...]:
        """The redirection table that bring-up programs into a device with `entries` entries. Raises UsageError."""
        table = self.reta or spread(self.queues, entries)
        if len(table) != entries:
            raise UsageError(f"the RSS redirection table has {len(table)} entries; expected the device's {entries}")
        return table


def key_bytes(text: str) -> bytes:
    """The 40 bytes of a named or hexadecimal key. Raises UsageError."""
    if text == "symmetric":
        return SYMMETRIC_KEY
    if text == "microsoft":
        return MICROSOFT_KEY
    digits = text.replace(":", "").replace(" ", "")
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise UsageError(f"{text!r} is not an RSS key; expected 'symmetric', 'microsoft' or {2 * KEY_BYTES} hex digits")
    return key


def toeplitz(key: bytes, data: bytes) -> int:
    """The 32-bit Toeplitz hash of up to 36 bytes in wire order (82599 datasheet 7.1.2.8.1).

    Each bit of `data` that is 1 adds, modulo 2, the 32 key bits that start at its
    position.
    """
    key_number = int.from_bytes(key, "big")
    data_number = int.from_bytes(data, "big")
    last = 8 * len(data) - 1
    result = 0
    for bit in range(last + 1):
        if data_number >> (last - bit) & 1:
            result ^= key_number >> (8 * len(key) - 32 - bit)
    return result & 0xFFFFFFFF


def spread(queues: int, entries: int = RETA_ENTRIES) -> tuple[int, ...]:
    """An even table: `entries` queue numbers, round robin, so that shares differ by one entry at most."""
    return tuple(entry % queues for entry in range(entries))


def steer(table: Sequence[int], queues: int, live: Sequence[int]) -> tuple[int, ...]:
    """The table in which the entries of queues that are not `live` go, one by one, to the live queue with the fewest.

    Entries of live queues stay where they are, and so do their flows. An even table
    stays even. Raises UsageError if no queue is live or a number is not below `queues`.
    """
    alive = sorted(set(live))
    if not alive or alive[0] < 0 or alive[-1] >= queues:
        raise UsageError(f"RSS cannot be steered to queues {alive}; expected some of 0 to {queues - 1}")
    share = {queue: table.count(queue) for queue in alive}
    steered = list(table)
    for entry, queue in enumerate(table):
        if queue not in share:
            steered[entry] = min(alive, key=share.__getitem__)
            share[steered[entry]] += 1
    return tuple(steered)


@dataclass(frozen=True)
class Prediction:
    """The queue that a device will choose for a flow.

    field: the name of the hash field, None if the frame is not hashed (then hash and
    queue are 0). index: the entry of the redirection table.
    """

    hash: int
    field: str | None
    index: int | None
    queue: int


def predict(flow: Flow, options: RssOptions, table: Sequence[int] | None = None) -> Prediction:
    """Predict the queue of a flow under `options`; `table`: the redirection table, if it was changed since bring-up."""
    field = _field_of(flow, options)
    if field is None:
        return Prediction(0, None, None, 0)
    value = toeplitz(key_bytes(options.key), flow.hash_input(ports=field.protocol is not None))
    queues = options.table(len(options.reta or ()) or RETA_ENTRIES) if table is None else table
    index = value % len(queues)
    return Prediction(value, field.name, index, queues[index])


def _field_of(flow: Flow, options: RssOptions) -> HashField | None:
    for field in FIELDS:
        if field.name in options.fields and field.version == flow.version and field.protocol in (None, flow.protocol):
            return field
    return None


def flows_per_queue(flows: Iterable[Flow], options: RssOptions) -> list[int]:
    """The number of flows that each queue gets."""
    counts = [0] * options.queues
    for flow in flows:
        counts[predict(flow, options).queue] += 1
    return counts


def imbalance(counts: Sequence[int]) -> float:
    """The largest share over the mean share: 1.0 is even, or no flows; the number of queues is all in one queue."""
    total = sum(counts)
    return max(counts) * len(counts) / total if total else 1.0
