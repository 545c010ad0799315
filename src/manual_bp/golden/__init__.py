"""Golden vectors: one case with all its numbers, for a program in any language."""
