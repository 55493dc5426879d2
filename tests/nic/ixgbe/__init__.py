"""Tests of `ixyfwd.nic.ixgbe`."""
