"""Diagnosis of a backward pass: which equation, which layer, which mistake."""
