"""Ratios of streamlearn's cost to that of peers and of the physical limit. Run ``python -m benchmarks``."""
