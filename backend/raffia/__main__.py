"""`python -m raffia`: the `raffia` command."""

from raffia.cli.main import main

if __name__ == "__main__":
    main()
