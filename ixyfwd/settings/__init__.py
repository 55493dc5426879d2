"""Reading settings, value by value: what is wrong is noted with its file, line and key."""
