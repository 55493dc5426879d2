"""What a model port is plugged into."""
