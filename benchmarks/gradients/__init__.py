"""The layers in other forms: plain ones, cases for them, mistakes in them, other right ways."""
