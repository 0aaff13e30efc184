"""Circuits, what people decide about them, and the files they are kept in."""
