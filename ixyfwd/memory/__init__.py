"""Shared packet memory: the arena and its layout."""
