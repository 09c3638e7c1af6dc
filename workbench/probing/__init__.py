"""Probes: what a model answers, and how well an edit holds."""
