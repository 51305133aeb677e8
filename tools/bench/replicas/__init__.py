"""What many replicas around one Redis cost: measured for docs/benchmarks.md, computed further for docs/scaling.md."""
