"""How healthy a stack is: weights, keys, what is remembered, what else is known, and which phase all that is."""
