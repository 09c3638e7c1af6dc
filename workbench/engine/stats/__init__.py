"""The second moment C of a model's keys over text: read, packed, run as far as the keys, summed, kept.

text ── documents ── [packing] ── rows of ids ── [model up to the deepest module] ── keys ── [sums] ── C
"""
