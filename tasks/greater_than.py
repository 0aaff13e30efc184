"""Greater-than: "The church was built in 1743 and was rebuilt in 17" -> "5" to "9", not "0" to "4".

Any later decade is right, so that the answer is a set of digits: their probability together is
compared with that of all others. Hanna et al. 2023 (arXiv 2305.00586) found the circuit in GPT-2,
which writes the two last digits of a year as one token. Here a year is written digit by digit, and
the first digit after the century is asked for.

The claim is that the decade of the first year passes through the circuit at the last token, and
that neither the century, the year in the decade, nor the building does.

Base accuracy (both prompts of a pair, n = 64):
SMOLLM
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
