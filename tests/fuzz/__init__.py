"""The fuzzer of the data path, and its inputs played again."""
