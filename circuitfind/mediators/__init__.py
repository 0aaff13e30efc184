"""What is patched: components, sites, and how a part is cut out of an activation."""
