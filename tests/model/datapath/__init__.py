"""Tests of `ixyfwd.model.datapath`."""
