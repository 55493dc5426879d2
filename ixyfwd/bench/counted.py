"""The process that `bench cost --instructions` runs: `python -m ixyfwd.bench.counted LOOP PROGRAM BATCH RING`.

Prints "frames N": how many frames went through the functions that are counted. A fifth
word, "marked", puts the marks of `bench.interpreted` around the Python loop.
"""

import sys

from ixyfwd.bench.cost import COUNTED_TURNS
from ixyfwd.bench.interpreted import marked
from ixyfwd.bench.turntable import open_turntable


def main() -> None:
    """Turn COUNTED_TURNS times. numpy is imported late: under callgrind all code is slow."""
    loop, program, batch, ring = sys.argv[1:5]
    with open_turntable("native", int(batch), ring=int(ring), program=program, loop=loop) as table:
        if sys.argv[5:] == ["marked"]:
            table.surround(marked)
        for _ in range(COUNTED_TURNS):
            table.turn()
        print("frames", COUNTED_TURNS * table.frames)


if __name__ == "__main__":
    main()
