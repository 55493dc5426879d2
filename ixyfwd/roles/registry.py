"""The roles that there are. A new folder is found without a change here."""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from ixyfwd.roles.contract import RoleOrder

if TYPE_CHECKING:  # a worker has no use for reports
    from ixyfwd.telemetry.snapshot import Report

DEFAULT_ROLE: Final = "forward"
_PACKAGE: Final = __name__.rpartition(".")[0]


def order_from_json(data: Mapping[str, Any]) -> RoleOrder[Any]:
    """The inverse of `RoleOrder.as_json`. Imports only the order of its role."""
    fields = {key: value for key, value in data.items() if key != "role"}
    order: RoleOrder[Any] = _order_class(data["role"]).from_json(fields)
    return order


def default_order() -> "RoleOrder[Report]":
    """What workers do if nothing else is asked; the rest is in their plan."""
    order: RoleOrder[Report] = _order_class(DEFAULT_ROLE)()
    return order


def _order_class(role: str) -> Any:
    return import_module(f"{_PACKAGE}.{role}.order").Order
