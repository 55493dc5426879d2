"""Probes of the machine for processes that poll: distance between CPUs, run delay and steal, pauses."""
