"""The parts of screens. Each that shows engine data has `show(state)`."""
