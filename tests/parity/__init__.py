"""Two small models with the numbers that the papers' own programs produce on them."""
