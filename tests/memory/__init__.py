"""Tests of `ixyfwd.memory`."""
