"""`RxQueue` and `TxQueue` of the contract, made from an engine's functions."""

from collections.abc import Callable

from ixyfwd.engine.batch import Batch

Bind = Callable[[Batch], Callable[[], int]]


class _Queue:
    def __init__(self, bind: Bind) -> None:
        self._bind = bind
        self._last: tuple[Batch, Callable[[], int]] | None = None

    def bind(self, batch: Batch) -> Callable[[], int]:
        """A callable for `burst(batch)`. Raises IxyfwdError if the engine was closed."""
        return self._bind(batch)

    def burst(self, batch: Batch) -> int:
        """Run the callable for `batch`, which is kept until another batch is given."""
        if self._last is None or self._last[0] is not batch:
            self._last = (batch, self._bind(batch))
        return self._last[1]()

    def forget(self) -> None:
        """Release the callable that is kept: the engine closes."""
        self._last = None


class Rx(_Queue):
    """A receive ring made from an engine's functions. See `engine.contract.RxQueue`."""

    def __init__(self, bind: Bind, start: Callable[[], None]) -> None:
        super().__init__(bind)
        self.start = start


class Tx(_Queue):
    """A transmit ring made from an engine's functions. See `engine.contract.TxQueue`."""

    def __init__(self, bind: Bind, clean: Callable[[], int]) -> None:
        super().__init__(bind)
        self.clean = clean
