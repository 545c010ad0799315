"""How far rounding alone can take a right computation."""
