"""Whole runs of the forwarder, on the model and on the kernel's interfaces."""
