"""Drop: frees frames instead of sending them: all of them, every n-th, or by length."""
