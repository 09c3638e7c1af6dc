"""The screen. Talks to an engine in another process; never imports torch."""
