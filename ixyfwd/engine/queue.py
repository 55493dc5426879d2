"""`RxQueue` and `TxQueue` of the contract, made from an engine's functions."""

from collections.abc import Callable

from ixyfwd.engine.batch import Batch

Bind = Callable[[Batch], Callable[[], int]]


class _Queue:
    def __init__(self, bind: Bind) -> None:
        self._bind = bind
        self._last: tuple[Batch, Callable[[], int]] | None = None

    def bind(self, batch: Batch) -> Callable[[], int]:
        """`burst(batch)` as the cheapest callable. Raises IxyfwdError if the engine was closed."""
        return self._bind(batch)

    def burst(self, batch: Batch) -> int:
        """See the contract. Remembers the callable of the batch that it was last given."""
        if self._last is None or self._last[0] is not batch:
            self._last = (batch, self._bind(batch))
        return self._last[1]()

    def forget(self) -> None:
        """Let the remembered callable go: the engine closes."""
        self._last = None


class Rx(_Queue):
    """See `engine.contract.RxQueue`."""

    def __init__(self, bind: Bind, start: Callable[[], None]) -> None:
        super().__init__(bind)
        self.start = start


class Tx(_Queue):
    """See `engine.contract.TxQueue`."""

    def __init__(self, bind: Bind, clean: Callable[[], int]) -> None:
        super().__init__(bind)
        self.clean = clean
