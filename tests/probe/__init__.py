"""Tests of `ixyfwd.probe`."""
