"""Tests of `ixyfwd.telemetry`."""
