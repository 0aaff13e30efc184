"""Models by name: built in, from a folder, wired by hand, or from the hub."""
