"""Many edits measured: each alone on the base, or one after the other; resumable, and the same on many workers."""
