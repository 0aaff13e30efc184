"""Pairs that someone else wrote, read from tables as people have them (docs/pairs.md).

`encodings` turns a file's bytes into text, `containers` text into rows, `cells` a cell into a
prompt or an answer. `columns` reads our own columns, a file each the layouts of other tools.
`reading` puts the rows together.
"""

from .containers import is_table
from .reading import read_pairs

__all__ = ["is_table", "read_pairs"]
