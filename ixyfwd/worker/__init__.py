"""One process, one core: rx burst, program, tx burst."""
