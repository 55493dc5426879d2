"""What holds for the repository as a whole: its shape, its documents, its scripts."""
