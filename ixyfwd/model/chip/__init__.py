"""The chip as software sees it through registers: what they are, what reading and writing them does."""
