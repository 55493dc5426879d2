"""The scripted tests."""
