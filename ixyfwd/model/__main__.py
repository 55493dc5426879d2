"""`python -m ixyfwd.model`: what the supervisor starts."""

import sys

from ixyfwd.model.process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
