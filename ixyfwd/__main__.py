"""`python -m ixyfwd` is the `ixyfwd` command."""

from ixyfwd.cli.app import main

if __name__ == "__main__":
    main()
