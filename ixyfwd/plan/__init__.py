"""The plan of a run: one value, computed before any device is touched."""
