"""Tests of `ixyfwd.worker`."""
