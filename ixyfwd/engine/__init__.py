"""Descriptor work, twice: `native` (C through cffi) and `vector` (numpy), behind one contract."""
