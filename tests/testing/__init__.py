"""What tests share: fakes, helpers, data."""
