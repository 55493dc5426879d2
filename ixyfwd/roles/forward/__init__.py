"""Forward: frames from one port of a link to the other, through programs."""
