"""Tests of `ixyfwd.bench`."""
