"""Roles: what a worker can be. A folder for each, found by its name."""
