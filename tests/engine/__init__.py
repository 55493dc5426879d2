"""Tests of `ixyfwd.engine`."""
