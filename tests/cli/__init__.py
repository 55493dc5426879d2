"""Tests of `ixyfwd.cli`."""
