"""The 82599, X540 and X550 as their datasheets describe them. How the device is reached, nobody here knows."""
