"""The schedule of test traffic: which sizes its frames have in which order, and when they are due."""

from collections.abc import Sequence
from functools import reduce
from math import gcd
from typing import Any, Final, Literal

from ixyfwd.errors import UsageError
from ixyfwd.traffic.format import CRC_BYTES, WIRE_OVERHEAD_BYTES

IMIX = ((64, 28), (570, 16), (1518, 4))  # frame bytes incl. CRC, weight
SCHEDULE_MAX = 4096
SIZES_MAX = 254
LINE_BYTE_PS: Final = 800  # at 10 Gbit/s
PS_PER_SECOND: Final = 10**12
LAG_PS: Final = 10_000_000_000  # a worker gives up frames that are due for longer

SendRate = float | Literal["line", "max"]
"""Frames per second; "line" = 10 GbE wire speed; "max" = as fast as the port takes frames."""


def make_schedule(frames: Sequence[tuple[int, int]], longest: int) -> tuple[list[int], bytes]:
    """Sizes without CRC, and the order in which a flow uses them: spread evenly by weight (largest debt first).

    Raises UsageError for sizes or weights that cannot be sent.
    """
    weights: dict[int, int] = {}
    for size, weight in frames:
        if not 64 <= size <= longest + CRC_BYTES or weight < 1:
            limit = longest + CRC_BYTES
            raise UsageError(
                f"frames of {size} bytes with weight {weight}: expected 64 to {limit} bytes (CRC included) "
                "and a weight of at least 1"
            )
        weights[size - CRC_BYTES] = weights.get(size - CRC_BYTES, 0) + weight
    divisor = reduce(gcd, weights.values(), 0)
    total = sum(weights.values()) // divisor if divisor else 0
    if not 1 <= total <= SCHEDULE_MAX or len(weights) > SIZES_MAX:
        raise UsageError(
            f"{len(weights)} frame sizes with weights that sum up to {total}: expected 1 to {SIZES_MAX} sizes "
            f"and a sum of at most {SCHEDULE_MAX}"
        )
    sizes, shares = list(weights), [weight // divisor for weight in weights.values()]
    debts = [0] * len(sizes)
    order = bytearray()
    for _ in range(total):
        debts = [debt + share for debt, share in zip(debts, shares, strict=True)]
        chosen = max(range(len(sizes)), key=debts.__getitem__)
        debts[chosen] -= total
        order.append(chosen)
    return sizes, bytes(order)


def frame_ps(rate: SendRate, share: float, size: int) -> int:
    """Time until the next frame behind one of `size` bytes without CRC; 0: at once. `share` is of the line's rate."""
    if rate == "max":
        return 0
    if rate == "line":
        return round((size + WIRE_OVERHEAD_BYTES) * LINE_BYTE_PS / share)
    return round(PS_PER_SECOND / float(rate))


def schedule_step(flow: Any, sequence: Any, schedule_length: int) -> Any:
    """The entry of the schedule of sizes that a worker's frame takes: each flow is one ahead of the flow before it.

    `flow` and `sequence` are numbers or arrays of numbers, `schedule_length` is in entries.
    """
    return (sequence + flow) % schedule_length


def frames_due(due_ps: int, now_ps: int, frame_ps: int) -> int:
    """How many frames, of `frame_ps` each, are due if the next one is at `due_ps`."""
    return 0 if due_ps > now_ps else (now_ps - due_ps) // frame_ps + 1


def frames_late(due_ps: int, now_ps: int, frame_ps: int, lag_ps: int) -> int:
    """How many whole frames, of `frame_ps` each, are due for longer than `lag_ps`."""
    return 0 if due_ps + lag_ps > now_ps else (now_ps - lag_ps - due_ps) // frame_ps
