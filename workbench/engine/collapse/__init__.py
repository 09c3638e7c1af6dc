"""The experiment of *Rebuilding ROME*: one sequence under several methods, and which breaks the model."""
