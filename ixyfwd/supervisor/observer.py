"""Who is told how a run goes: the live table, the plain lines, a test."""

from typing import Any, Protocol

Status = dict[str, Any]
"""Plain data as `ixyfwd status --json` prints it; `supervisor/report.py` says what is in it."""


class Observer(Protocol):
    """Called by the supervisor between two looks at its processes; must return quickly."""

    def notice(self, text: str) -> None:
        """Something worth one sentence, such as hugepages that were not there."""

    def started(self, status: Status) -> None:
        """Frames flow from now on."""

    def tick(self, status: Status) -> None:
        """About once a second."""

    def stopped(self, report: Status) -> None:
        """The final report, after everything is down."""


class Silent:
    """An observer that says nothing."""

    def notice(self, text: str) -> None:
        """See Observer."""

    def started(self, status: Status) -> None:
        """See Observer."""

    def tick(self, status: Status) -> None:
        """See Observer."""

    def stopped(self, report: Status) -> None:
        """See Observer."""
