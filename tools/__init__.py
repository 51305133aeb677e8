"""Programs for people who work on Raffia: benchmarks, fuzzing, pictures of the app."""
