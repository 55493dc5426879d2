"""Tests of `ixyfwd.plan`."""
