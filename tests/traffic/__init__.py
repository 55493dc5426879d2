"""Tests of `ixyfwd.traffic`."""
