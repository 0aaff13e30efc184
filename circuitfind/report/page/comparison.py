"""The page of a comparison: circuits, what they share and how each fares on each other's claim, in
one HTML file that needs no network. It is made from what a compare.json holds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from markupsafe import Markup, escape

from ...circuits.circuit import Circuit
from ...mediators.site import Site
from ...validate.comparison import Matrix, comparison_from_json
from .figures import page_overlap
from .template import number, render_template


def render_comparison(made: Mapping[str, Any], commands: Mapping[str, str]) -> str:
    """The page as HTML.

    Args:
        made: what a compare.json holds.
        commands: what remakes each run, by its circuit's name, where that is known.

    Raises:
        ValueError: not what `compare` writes; every problem at once.
    """
    comparison = comparison_from_json(made)
    circuits, matrix = comparison.circuits, comparison.matrix
    claims = list(next(iter(matrix.values())))
    shares = [asdict(row) for row in comparison.overlaps]  # numbers as their types have them
    overlaps = sorted(shares, key=lambda row: -row["jaccard"])
    told = [one for one in overlaps if {one["first"], one["second"]} <= set(claims)]
    groups = _site_groups(circuits, claims)
    return render_template(
        "comparison",
        made,
        shared=comparison.shared,
        command=comparison.command,
        n_sites=comparison.n_sites,
        circuits=circuits,
        matrix=matrix,
        claims=claims,
        commands=commands,
        overlaps=overlaps,
        groups=groups,
        models=_models(circuits),
        verdict=_in_words(told, groups, matrix, claims),
        soft=soft,
        served={name: _served(matrix, name, claims) for name in circuits},
        figure=Markup(page_overlap(shares)),
    )


def soft(name: str) -> Markup:
    """A name that may be broken after its hyphens and underscores."""
    broken = escape(name)
    for letter in "_-":
        broken = broken.replace(letter, Markup(f"{letter}<wbr>"))
    return broken


def _models(circuits: Mapping[str, Circuit]) -> list[str]:
    return sorted({circuit.model for circuit in circuits.values()})


def _served(matrix: Matrix, name: str, claims: Sequence[str]) -> list[str]:
    """The claims all of whose desiderata hold for this circuit."""
    return [claim for claim in claims if all(score.holds for score in matrix[name][claim])]


def _site_groups(
    circuits: Mapping[str, Circuit], claims: Sequence[str]
) -> list[tuple[str, list[tuple[str, list[float | None]]]]]:
    """Every site with its score in each circuit (None: not a member), by layer, in groups by how
    many of the claims' circuits have it; a circuit searched for all claims counts for none."""
    scores = {
        name: dict(zip(circuit.sites, circuit.scores, strict=True))
        for name, circuit in circuits.items()
    }
    sites = {site for circuit in circuits.values() for site in circuit.sites}
    counts = {site: sum(site in scores[name] for name in claims) for site in sites}
    titles = {
        f"in all {len(claims)}": lambda count: count == len(claims),
        "in some": lambda count: 1 < count < len(claims),
        "in one alone": lambda count: count == 1,
        "in the shared circuit alone": lambda count: count == 0,
    }

    def place(site: Site) -> tuple:
        return -counts[site], site.component, site.position

    return [
        (title, [(str(site), [scores[name].get(site) for name in circuits]) for site in its])
        for title, belongs in titles.items()
        if (its := sorted((site for site in sites if belongs(counts[site])), key=place))
    ]


def _in_words(
    overlaps: Sequence[Mapping[str, Any]],
    groups: Sequence[tuple[str, list]],
    matrix: Matrix,
    claims: Sequence[str],
) -> list[str]:
    """What the comparison comes to, in sentences; the overlaps are sorted, the greatest first."""
    total = sum(len(its) for _, its in groups)
    shared = next((len(its) for title, its in groups if title.startswith("in all")), 0)
    of = f"{total} site{'' if total == 1 else 's'}"
    said = [f"{shared or 'None'} of {of} {'are' if shared > 1 else 'is'} in all {len(claims)}"]
    if overlaps and (most := overlaps[0])["jaccard"] > 0:
        said.append(
            f"The greatest overlap is that of {most['first']} and {most['second']}: Jaccard index "
            f"{number(most['jaccard'], 2)}, {number(most['chance'], 2)} by chance"
        )
    others = [
        (name, claim) for name in claims for claim in _served(matrix, name, claims) if name != claim
    ]
    if not others:
        said.append("No circuit satisfies the claim of another")
    return said + [f"The claim of {claim} holds for {name}, too" for name, claim in others]
