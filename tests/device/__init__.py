"""A pretend accelerator, and the program on it."""
