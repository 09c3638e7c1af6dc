"""Scripts that make something large and say how long things take; no tests."""
