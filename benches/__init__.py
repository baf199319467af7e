"""Measurements: ours against a floor and peers, and benches that pytest runs once as tests."""
