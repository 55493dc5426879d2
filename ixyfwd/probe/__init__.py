"""What the machine does to processes that poll: the distance between CPUs, CPUs taken away, pauses."""
