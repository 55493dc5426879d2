"""Tests of `ixyfwd.host`."""
