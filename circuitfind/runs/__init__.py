"""A claim's run from settings to a folder, and what is done with finished runs."""
