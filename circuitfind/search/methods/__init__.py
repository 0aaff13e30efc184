"""The search methods, one file each."""
