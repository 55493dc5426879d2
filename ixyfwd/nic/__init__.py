"""Families of network interfaces, a folder each."""
