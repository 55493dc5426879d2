"""Families of network interfaces: their contract, the code that they share, and a folder for each."""
