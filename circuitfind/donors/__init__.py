"""Donors: what a patched site takes, one file a kind."""
