"""The `raffia` command, with one file per subcommand."""
