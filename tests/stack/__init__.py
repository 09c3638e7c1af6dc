"""Stacks: edit files, their order, crash safety, and exact weights."""
