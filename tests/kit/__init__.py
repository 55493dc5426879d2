"""Tests of `ixyfwd.kit`."""
