"""What `_c/boundmodule.c` makes. `bind` checks what this takes on trust."""

from collections.abc import Callable

def new_call(function: int, work: int, keeps: object, /) -> Callable[[], int]:
    """A callable for the C function `uint32_t (struct *)` at address `function`, called with the address `work`.

    Raises TypeError for anything but integers, ValueError for address 0, OverflowError for what is no address.
    """
