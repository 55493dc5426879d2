"""Tests of `ixyfwd.config`."""
