"""Shared packet memory: the arena, its layout, and nothing about packets."""
