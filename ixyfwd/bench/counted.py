"""What `bench cost --instructions` runs under callgrind: `python -m ixyfwd.bench.counted LOOP PROGRAM BATCH RING`.

Prints "frames N": how many frames went through the functions that are counted. A fifth word, "marked", puts the marks
of `bench.interpreted` around the Python loop.
"""

import sys

from ixyfwd.bench.cost import COUNTED_TURNS
from ixyfwd.bench.interpreted import marked
from ixyfwd.bench.turntable import open_turntable


def main() -> None:
    """Turn a few times; imports no numpy before it must, since everything is slow here."""
    loop, program, batch, ring = sys.argv[1:5]
    with open_turntable("native", int(batch), ring=int(ring), program=program, loop=loop) as table:
        if sys.argv[5:] == ["marked"]:
            table.surround(marked)
        for _ in range(COUNTED_TURNS):
            table.turn()
        print("frames", COUNTED_TURNS * table.frames)


if __name__ == "__main__":
    main()
