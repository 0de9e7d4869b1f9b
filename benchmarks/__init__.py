"""Scripts that measure and save numbers: `python -m benchmarks.<name>` writes benchmarks/results/<name>.json."""
