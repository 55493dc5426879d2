"""Programs: they treat frames between rx and tx. Each has a folder; no other code knows one by name.

`programs/NAME/` holds one module per role:

- `options.py`: the program as a configuration knows it: keys, whether it decides, its drop causes and counters.
- `worker.py`: `bind(options, place)`, which makes the callable that a worker calls for each burst.
- `_c/`: its C, a cffi module of its own; or `frame.h`, if it treats every frame alike.
"""
