"""Tests of `ixyfwd.model.wires`."""
