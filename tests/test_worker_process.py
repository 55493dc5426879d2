"""What a worker's process asks of the kernel: refused in a sentence."""

import os

import pytest

from ixyfwd.errors import IxyfwdError
from ixyfwd.worker.process import settle


def test_a_nice_value_that_is_not_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(which: int, who: int, priority: int) -> None:
        assert (which, who, priority) == (os.PRIO_PROCESS, 0, -20)
        raise PermissionError

    monkeypatch.setattr("os.setpriority", refuse)
    with pytest.raises(IxyfwdError) as caught:
        settle("worker 3", None, -20)
    assert str(caught.value) == "worker 3: [cpu] nice = -20 needs root or CAP_SYS_NICE"
