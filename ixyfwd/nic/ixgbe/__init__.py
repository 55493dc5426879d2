"""The 82599 as its datasheet describes it. How the device is reached, nobody here knows."""
