"""One file and one style sheet for each place and each question."""
