"""The donors that are known by name."""

from desiderata import Desideratum

from ..registry import Registry
from .constant import Mean, Zero
from .donor import Donor
from .source import Resample, Source

DONORS: Registry[Donor] = Registry(
    "circuitfind.donors", (Source(), Mean(), Zero(), Resample()), "donor", kind=Donor
)


def donor_of(desideratum: Desideratum) -> Donor:
    """What the patched sites of a desideratum take.

    Raises:
        LookupError: a donor's name that nobody has.
        TypeError: an object that is no donor.
    """
    asked = desideratum.donor
    made = DONORS.named(asked) if isinstance(asked, str) else asked
    if not isinstance(made, Donor):
        raise TypeError(f"a donor has prompts, runs_in and value; got {made!r}")
    return made
