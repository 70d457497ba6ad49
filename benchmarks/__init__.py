"""What the store costs, as ratios against the shortest way to do the same; see `python -m benchmarks`."""
