"""Direct effects of a circuit's members on each other and on the answer."""
