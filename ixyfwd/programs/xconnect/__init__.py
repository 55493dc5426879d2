"""Cross-connect: frames that come in at one port of a link go out at the other, unchanged."""
