"""Families of network interfaces: the contract that each keeps, what they share, and a folder for each."""
