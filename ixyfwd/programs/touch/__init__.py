"""Touch: increment one byte of every frame, as the published comparison of drivers does, so that each is read."""
