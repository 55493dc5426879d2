"""`python -m ixyfwd` is the `ixyfwd` command."""

from ixyfwd.cli.entry import main

if __name__ == "__main__":
    main()
