"""Stacks: edit files, their order, and exact weights from them."""
