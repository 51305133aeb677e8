"""The `raffia` command: a file for each subcommand."""
