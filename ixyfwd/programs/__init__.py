"""Programs: what happens to frames between rx and tx. A folder each; nothing else knows one by name.

`programs/NAME/` holds one module per role:

- `options.py`: the program as a configuration knows it: keys, whether it decides, its drop causes and counters.
- `worker.py`: `bind(options, place)`, what a worker calls for each burst.
- `_c/`: its C, a cffi module of its own; or `frame.h`, if it does the same to every frame.
"""
