"""Sweeps: many runs from one file, here or on Ray, and the table of what they found."""
