"""Tests of `ixyfwd.model`."""
