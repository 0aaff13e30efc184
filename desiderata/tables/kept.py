"""What layouts of a clean and a corrupted prompt share.

The field patches the corrupted prompt's activations into the clean run everywhere but in the
circuit, and asks that the clean behaviour stays: clean is the base, corrupted the source.
"""

from ..desideratum import Pair, Texts
from ..prompt import Prompt
from .layout import Made

SAYS = (
    "clean is the base and corrupted the source; everything outside the circuit is patched, and "
    "the clean answer must stay"
)


def kept(
    clean: Prompt,
    corrupted: Prompt,
    answer: Texts,
    *,
    corrupted_answer: Texts | None = None,
    others: tuple[Texts, ...] = (),
    name: str = "",
) -> Made:
    """The pair in which the clean answer stays while all else takes the other prompt's values."""
    pair = Pair(
        base=clean,
        source=corrupted,
        expected=answer,
        base_answer=answer,
        source_answer=corrupted_answer,
        others=others,
    )
    return Made(pair=pair, name=name, part="outside")
