"""The default journal: one SQLite file in the data folder."""
