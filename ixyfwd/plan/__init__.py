"""What a run is, as one value that is computed before anything is touched."""
