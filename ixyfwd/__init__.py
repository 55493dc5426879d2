"""A forwarding appliance for the Intel 82599 in Python."""

__version__ = "0.1.0"
