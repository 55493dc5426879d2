"""Tests of `ixyfwd.supervisor`."""
