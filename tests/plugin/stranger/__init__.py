"""Plug-ins of every kind, written with circuitfind's public names only."""
