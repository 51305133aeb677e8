"""The cost of many replicas around one Redis: measured for docs/benchmarks.md, extrapolated for docs/scaling.md."""
