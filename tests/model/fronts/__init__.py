"""Tests of `ixyfwd.model.fronts`."""
