"""Each speed claim as a command: `python -m benchmarks.NAME --json`."""
