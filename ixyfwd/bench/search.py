"""The search for the highest load at which no more than a given share of frames is lost.

Its interface is that of RFC 2544 tests in general:
`measure(duration, load) -> offered, forwarded`. Trials are short at first, to find the
region, and long at the end, to be reliable: each phase narrows the interval of the one
before, and widens it again if its longer trials do not confirm it (the idea of
MLRsearch). One trial that loses frames because the machine was busy must not decide: in
the last phase a load is judged by the majority of up to `trials` trials. The phases
before only find the region, by a trial each.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

MeasureLoad = Callable[[float, float], tuple[int, int]]
"""A function of seconds and a load in frames per second; it returns the frames offered and the frames forwarded."""

SLIGHTLY: Final = 1e-9


@dataclass(frozen=True)
class Goal:
    """A goal of the search: at most the share `loss` of the offered frames may be lost. `name` is for rows."""

    name: str
    loss: float


NDR: Final = Goal("ndr", 0.0)
PDR: Final = Goal("pdr", 0.005)


@dataclass
class Search:
    """A search between two loads, in frames per second. `precision` is relative; all goals share the trials."""

    measure: MeasureLoad
    lowest: float
    highest: float
    precision: float = 0.005
    durations_s: Sequence[float] = (1.0, 5.0)
    trials: int = 3
    _losses: dict[tuple[float, float], list[float]] = field(default_factory=dict)

    def find(self, goal: Goal) -> float | None:
        """The highest good load, by trials of the longest duration; None if the lowest one is not good."""
        guess = self._first_guess()
        found: float | None = None
        for phase, duration_s in enumerate(self.durations_s):
            width = min(0.5, self.precision * 4.0 ** (len(self.durations_s) - 1 - phase))
            found = self._narrow(goal, duration_s, guess, width)
            guess = self.lowest if found is None else found
        return found

    def losses(self, load: float) -> list[float]:
        """The shares lost in the longest trials at this load."""
        return list(self._losses.get((self.durations_s[-1], load), ()))

    def _first_guess(self) -> float:
        """The load that is forwarded at the highest load."""
        loss = self._trial(self.durations_s[0], self.highest, 0)
        return max(self.lowest, self.highest * (1 - loss))

    def _narrow(self, goal: Goal, duration_s: float, guess: float, width: float) -> float | None:
        """Search outwards from `guess` in steps that double, then halve, until good and bad are `width` apart."""
        if self._good(goal, duration_s, self.highest):
            return self.highest
        good: float | None = None
        bad, step, load = self.highest, width, min(guess, self.highest * (1 - width))
        while good is None or bad > good * (1 + width) * (1 + SLIGHTLY):
            load = max(load, self.lowest)
            if self._good(goal, duration_s, load):
                good = load
            else:
                bad = load
                if load <= self.lowest:
                    return None
            if good is None:
                load = bad * (1 - min(step, 0.5))
            elif bad == self.highest and good * (1 + step) < bad:
                load = good * (1 + step)
            else:
                load = (good * bad) ** 0.5
            step *= 2
        return good

    def _good(self, goal: Goal, duration_s: float, load: float) -> bool:
        """Whether a load is good, by the majority of trials."""
        needed = self.trials // 2 + 1 if duration_s == self.durations_s[-1] else 1
        verdicts = {True: 0, False: 0}
        number = 0
        while max(verdicts.values()) < needed:
            verdicts[self._trial(duration_s, load, number) <= goal.loss] += 1
            number += 1
        return verdicts[True] >= needed

    def _trial(self, duration_s: float, load: float, number: int) -> float:
        """The share lost in the trial of that number, which is measured once for all goals."""
        losses = self._losses.setdefault((duration_s, load), [])
        while len(losses) <= number:
            offered, forwarded = self.measure(duration_s, load)
            losses.append(max(0.0, 1 - forwarded / offered) if offered else 1.0)
        return losses[number]
