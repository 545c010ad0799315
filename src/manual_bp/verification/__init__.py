"""Verdicts per equation that follow from rounding analysis."""
