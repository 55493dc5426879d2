"""The account of a model that runs alone: `ixyfwd model`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from ixyfwd.telemetry.plain import About
from ixyfwd.telemetry.snapshot import FaultsRow, InjectedRow

MODEL_SCHEMA: Final = "ixyfwd-model-1"


@dataclass(frozen=True, kw_only=True)
class ModelPortRow:
    """A port of the model."""

    name: Annotated[str, About("Its name.")]
    socket: Annotated[str | None, About("The vfio-user socket that it serves; null if it is a directory.")] = None
    directory: Annotated[str | None, About("The directory that it serves; null if it is a socket.")] = None
    device_id: Annotated[str, About("PCI device id, four hexadecimal digits.")]
    mac: Annotated[str, About("Its own MAC address.")]
    link: Annotated[bool, About("Whether its link is up.")]
    connected: Annotated[bool, About("Whether a driver has it.")]
    wire: Annotated[Mapping[str, Any], About("The account of its wire; its keys depend on the kind of wire.")]
    faults: Annotated[FaultsRow, About("What the model recorded against the driver.")]
    injected: Annotated[Mapping[str, InjectedRow], About("What is or was injected, by kind of fault.")]


@dataclass(frozen=True, kw_only=True)
class ModelStatus:
    """A model at one moment."""

    uptime_s: Annotated[float, About("Time since it serves.", "s")]
    ports: Annotated[Sequence[ModelPortRow], About("As given.")]
    faults: Annotated[int, About("What it recorded against the drivers of all ports.", "number")]
    faults_by_kind: Annotated[Mapping[str, int], About("The same by kind.", "number")]
    recent_faults: Annotated[Sequence[Mapping[str, Any]], About("The last ones of all ports, oldest first.")]


@dataclass(frozen=True, kw_only=True)
class ModelReport(ModelStatus):
    """The account of `ixyfwd model`: what went through each wire, and what drivers did wrong."""

    schema: Annotated[str, About("What this object is, and its version.")] = MODEL_SCHEMA
    reason: Annotated[str, About("Why it ended.")]
    error: Annotated[str | None, About("One sentence if the command failed.")]
    exit_code: Annotated[int, About("Of the command: 1 after an error or a fault.")]
