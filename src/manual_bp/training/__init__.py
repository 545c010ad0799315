"""Training: an epoch as compiled programs, what was measured, `fit`, and its file."""
