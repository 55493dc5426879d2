"""The documents that commands print as one JSON object, each with a schema name and version of its own."""

from typing import Final

from ixyfwd.telemetry.event import Event
from ixyfwd.telemetry.model_report import ModelReport
from ixyfwd.telemetry.snapshot import CaptureReport, GenerateReport, Report, Snapshot

DOCUMENTS: Final = (Snapshot, Report, GenerateReport, CaptureReport, ModelReport, Event)
