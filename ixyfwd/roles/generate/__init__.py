"""Generate: numbered, time-stamped frames out of one port."""
