"""Tests of `ixyfwd.nic`."""
