"""Tests of `ixyfwd.pci`."""
