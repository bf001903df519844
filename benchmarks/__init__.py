"""Benchmarks: each times Concord against its peer, in one run, and prints both figures and their ratio."""
