"""Tests of `ixyfwd.model.inject`."""
