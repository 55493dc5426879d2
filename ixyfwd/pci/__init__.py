"""How a PCI function is reached. What the device is, nobody here knows."""
