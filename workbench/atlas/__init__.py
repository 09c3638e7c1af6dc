"""The model that ships: weights, facts, and the recipe that made it."""
