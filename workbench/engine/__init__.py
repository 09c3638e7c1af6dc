"""The engine: one model, one stack, and events about both."""
