"""Pauses: times in which a worker wanted to poll and did not.

Another process had the CPU, or the host of a virtual machine did, or a signal stopped the worker. The worker is not
told; it only sees, by its own clock, that more time went by between two looks at its rings than its bursts explain. A
time shorter than the smallest receive ring lasts at line rate loses nothing and is not counted. Pauses between the same
two looks are one: a busy engine that takes long for a burst counts few long ones.

A rest is no pause as far as it was meant to be: what a sleep lasts beyond what was asked for is one, and so is what a
yield lasts. A wait for an interrupt has no length that was asked for and is never one. Where several processes poll on
one CPU every turn of the others would be a pause: nothing is counted there.
"""

from ixyfwd.telemetry.counters import NO_PAUSES, Word


class Pauses:
    """The count of pauses, in the words PAUSES, PAUSED_NS and LONGEST_PAUSE_NS of the counters page.

    `judge_gap` of the 82599's fused loop (`rings/_c/forward.h` of its family) does the same.
    """

    __slots__ = ("_busy_paused_ns", "_page", "longer_than_ns")

    def __init__(self, page: memoryview, longer_than_ns: int = NO_PAUSES) -> None:
        """`page`: the counters page, uint64[words].

        A gap between two looks that is no longer than `longer_than_ns` need not be judged.
        """
        self.longer_than_ns = longer_than_ns
        self._page = page
        self._busy_paused_ns = 0  # of BUSY_NS, what the pauses in it took

    def judge(self, gap_ns: int, bursts: int, bursts_before: int) -> None:
        """Count a gap as a pause, less the time that the `bursts` in it explain.

        A burst takes what bursts have cost so far: BUSY_NS over `bursts_before`. If they explain half of the gap, it
        was work: so a forwarder that is too slow has no pauses.
        """
        page = self._page
        work_ns = 0
        if not bursts_before:  # nothing to lose yet, and nothing to judge by
            return
        if bursts:
            work_ns = bursts * (max(0, page[Word.BUSY_NS] - self._busy_paused_ns) // bursts_before)
        pause_ns = gap_ns - work_ns
        if pause_ns <= self.longer_than_ns or pause_ns <= work_ns:
            return
        page[Word.PAUSES] += 1
        page[Word.PAUSED_NS] += pause_ns
        page[Word.LONGEST_PAUSE_NS] = max(pause_ns, page[Word.LONGEST_PAUSE_NS])
        if bursts:
            self._busy_paused_ns += pause_ns
