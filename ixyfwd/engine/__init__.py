"""Work on batches in three engines behind one contract: `native` (C), `vector` (numpy), `naive` (plain Python)."""
