"""Did rounding cost anything: does the mask of the search score where its circuit does not?

A gate that is half open mixes the base's value with the source's, which no component ever writes;
Davies et al. 2023 (arXiv 2307.03637) round their masks and report the rounded ones. The gap is the
satisfaction of each desideratum under the mask less that under the circuit, on held-out pairs.
"""

import torch

from ..finding import AS_CLAIMED, Finding, Verdict
from ..inputs import CheckInputs
from ..names import ROUNDING
from ..thresholds import LEVEL, holm, sign_p

ABLATION = f"{AS_CLAIMED}, mixed by half-open gates"


def check_rounding(inputs: CheckInputs) -> Finding:
    """The greatest gap over desiderata, a share of pairs; low and high are their range.

    *Fails* where the mask beats the circuit on more pairs of a desideratum than the other way
    round (exact one-sided sign test at 5 %, Holm over desiderata) and the circuit does not reach
    what is needed; *holds* where the circuit reaches it, or no such difference is told.
    """
    if inputs.mask is None:
        return Finding.undecided(
            ROUNDING,
            "no mask was given, so that there is nothing to compare with",
            ablation=ABLATION,
        )
    both = torch.stack([inputs.mask, inputs.membership])
    rows = []
    for index, (desideratum, bound) in enumerate(
        zip(inputs.objective.desiderata, inputs.bounds, strict=True)
    ):
        soft, hard = inputs.objective.hits(index, both)
        lost, won = int((soft & ~hard).sum()), int((hard & ~soft).sum())
        rows.append(
            {
                "desideratum": desideratum.name,
                "n": len(soft),
                "mask": float(soft.float().mean()),
                "circuit": float(hard.float().mean()),
                "need": bound.value,
                "lost": lost,
                "won": won,
                "p": sign_p(lost, won),
            }
        )
    told = holm([row["p"] for row in rows], len(rows))
    broken = [
        row["desideratum"]
        for row, differs in zip(rows, told, strict=True)
        if differs and row["circuit"] < row["need"]
    ]
    verdict: Verdict = "fails" if broken else "holds"
    gaps = [row["mask"] - row["circuit"] for row in rows]
    most = rows[gaps.index(max(gaps))]
    open_gates = int(((inputs.mask > 0) & (inputs.mask < 1)).sum())
    says = (
        f"the mask of the search, with {open_gates} gates partly open, gives {most['mask']:.3f} "
        f"where the circuit gives {most['circuit']:.3f} ({most['desideratum']!r}, the widest gap); "
        + (
            f"only the mask satisfies {', '.join(broken)}"
            if broken
            else "no desideratum is satisfied by the mask alone"
        )
        + f" (sign tests at {LEVEL:g}, Holm over {len(rows)})"
    )
    return Finding(
        name=ROUNDING,
        verdict=verdict,
        value=max(gaps),
        low=min(gaps),
        high=max(gaps),
        n=min(row["n"] for row in rows),
        ablation=ABLATION,
        split="held-out",
        says=says,
        brief=f"only the mask before rounding satisfies {', '.join(broken)}",
        details=tuple(rows),
    )
