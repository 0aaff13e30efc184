"""Greater-than: "The church was built in 1743 and was rebuilt in 17" -> "5" to "9", not "0" to "4".

Any later decade is right, so that the answer is a set of digits: their probability together is
compared with that of all other digits. Hanna et al. 2023 (arXiv 2305.00586) found the circuit in
GPT-2 small, which writes the two last digits of a year as one token. Here the first digit after the
century is asked for, for models that write a year digit by digit. The first year's own decade
counts as wrong, though some of its years are later.

The claim is that the decade of the first year passes through the circuit at the last token, and
that neither the year in the decade nor the building does. Buildings are held out, numbers are not.
The sets overlap, and lint warns that 8 is right in every pair that keeps. Where a pair that follows
makes more digits right than before, only these are asked for.

Base accuracy (the later decades are together more probable than the others, both prompts of a pair,
64 pairs of each desideratum): SmolLM2-135M 1.00 on the search side and 1.00 held out (n = 256
each).
"""

from desiderata import CausalModel, choice, integers

BUILDINGS = (
    "house", "church", "castle", "bridge", "tower", "temple", "palace", "school", "theatre", "mill",
    "abbey", "chapel", "hotel", "library", "museum", "station",
)  # fmt: skip
DIGITS = tuple(str(digit) for digit in range(10))


def later(decade: int) -> tuple[str, ...]:
    return DIGITS[decade + 1 :]


model = CausalModel(
    inputs={
        "building": choice(BUILDINGS),
        "century": integers(14, 19),
        "decade": integers(1, 7),
        "year": integers(0, 9),
    },
    mechanisms=[later],
    prompt="The {building} was built in {century}{decade}{year} and was rebuilt in {century}",
    completion="{later}",
)

claim = model.carries("decade", at="last", keeps=["building", "year"], among=DIGITS)
