"""`python -m circuitfind` is the command line."""

from .cli.app import main

main()
