"""The cross-connect in a worker."""

from collections.abc import Mapping
from typing import Any

from ixyfwd.programs.work import Place


def bind(options: Mapping[str, Any], place: Place) -> None:
    """Return None: the cross-connect leaves the frames of a batch as they are."""
