"""The maths of rank-one editing: tensors in, tensors out."""
