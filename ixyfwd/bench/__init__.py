"""The scripted tests: `ixyfwd bench ...`."""
