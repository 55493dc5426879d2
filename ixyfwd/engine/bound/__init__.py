"""C functions bound to the struct that they work on, as calls that cost Python a few instructions."""
