"""Tests of `ixyfwd.vfiouser`."""
