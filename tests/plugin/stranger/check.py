"""A check: do more than half of all held-out pairs come out as expected?"""

from circuitfind.validate import Check, Finding


def check_majority(inputs) -> Finding:
    hits = [
        inputs.objective.hits(index, inputs.membership[None])[0].float().mean()
        for index in range(len(inputs.batches))
    ]
    value = float(sum(hits) / len(hits))
    return Finding(
        name="majority",
        verdict="holds" if value > 0.5 else "fails",
        value=value,
        low=value,
        high=value,
        n=sum(map(len, inputs.batches)),
        ablation="donors as in each desideratum",
        split="held-out",
        says=f"{value:.2f} of all pairs come out as expected",
    )


majority = Check(name="majority", run=check_majority, about="more than half of all pairs")
