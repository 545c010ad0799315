"""Independent computations of the same quantities."""
