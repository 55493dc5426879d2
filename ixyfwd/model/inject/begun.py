"""An injection that has begun: its counter, how it is taken back, whether it has ended by itself."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Begun:
    """What a kind's beginning gives back."""

    count: Callable[[], int]
    end: Callable[[], None]
    exhausted: Callable[[], bool] = lambda: False
