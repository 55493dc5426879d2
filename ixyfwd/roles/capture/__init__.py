"""Capture: the frames that arrive at one port, into a file."""
