"""Frames, rings, DMA and wires in C (`_c`), and what binds it to Python."""
