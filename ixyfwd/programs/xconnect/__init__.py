"""Cross-connect: what comes in at one port of a link goes out at the other, untouched."""
