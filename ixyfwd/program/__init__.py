"""What happens to a burst between rx and tx."""
