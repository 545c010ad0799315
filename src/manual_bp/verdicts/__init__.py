"""What is right and what is wrong, equation by equation, and how it is told."""
