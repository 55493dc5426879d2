"""The configuration file: parsed, checked whole, and handed on as frozen dataclasses."""
