"""The innermost loop of a worker in Python: for each link rx burst -> program -> tx burst.

Beside the call of a burst every line of Python counts. So the loop is flat, the steps of many rounds one after the
other, and a step that has frames counts nothing: how many there were follows from how many had none.
"""

from collections.abc import Callable, Sequence
from functools import partial
from operator import length_hint

from ixyfwd.roles.work import Burst, Step

# Runs a turn and returns how many steps it took and how many of them had frames. Whenever as many steps in a row as
# there are links had none, it calls its argument with the number of those that had some so far; true ends the turn.
Turn = Callable[[Callable[[int], bool]], tuple[int, int]]


def new_turn(steps: Sequence[Step], rounds: int) -> Turn:
    """A call that makes `rounds` rounds over all links, in their order."""
    links = len(steps)
    if all(step.program is None for step in steps):
        return partial(_plain, tuple((step.rx, step.tx) for step in steps) * rounds, links)
    treated = tuple((step.rx, step.program or _do_nothing, step.tx) for step in steps) * rounds
    return partial(_treated, treated, links)


def _plain(turn: tuple[tuple[Burst, Burst], ...], links: int, empty: Callable[[int], bool]) -> tuple[int, int]:
    missed = row = 0  # steps without frames: in all, in a row
    steps = iter(turn)
    for rx, tx in steps:
        if rx():
            tx()
            row = 0
        else:
            missed += 1
            row += 1
            if row == links:
                row = 0
                taken = len(turn) - length_hint(steps)
                if empty(taken - missed):
                    return taken, taken - missed
    return len(turn), len(turn) - missed


def _treated(
    turn: tuple[tuple[Burst, Callable[[], object], Burst], ...], links: int, empty: Callable[[int], bool]
) -> tuple[int, int]:
    """The same with a program. Not one function for both: a test of `None` in every step is not free."""
    missed = row = 0
    steps = iter(turn)
    for rx, treat, tx in steps:
        if rx():
            treat()
            tx()
            row = 0
        else:
            missed += 1
            row += 1
            if row == links:
                row = 0
                taken = len(turn) - length_hint(steps)
                if empty(taken - missed):
                    return taken, taken - missed
    return len(turn), len(turn) - missed


def _do_nothing() -> None:
    """The program of a link that has none, beside links that have one."""
