"""Tests of `ixyfwd.model.chip`."""
