"""Pairs made ready for a model, patched runs, scores and bounds."""
