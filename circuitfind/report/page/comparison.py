"""The page of a comparison: circuits, what they share and how each fares on each other's claim, in
one HTML file that needs no network. It is made from what a compare.json holds."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from markupsafe import Markup, escape

from ...circuits.circuit import Circuit, circuit_from_json
from ...mediators.site import Site
from ...validate.card import DesideratumScore, card_from_json
from .figures import page_overlap
from .template import number, render_template

SHARES = ("null", "ceiling", "satisfaction", "low", "high", "at_least", "need")  # of a score
Matrix = Mapping[str, Mapping[str, tuple[DesideratumScore, ...]]]


def render_comparison(made: Mapping[str, Any], commands: Mapping[str, str]) -> str:
    """The page as HTML.

    Args:
        made: what a compare.json holds.
        commands: what remakes each run, by its circuit's name, where that is known.

    Raises:
        ValueError: not what `compare` writes; every problem at once.
    """
    if problems := list(_problems(made)):
        raise ValueError(f"no comparison of circuits: {'; '.join(problems)}")
    circuits = {name: circuit_from_json(read) for name, read in made["circuits"].items()}
    matrix: Matrix = {
        row: {claim: _scores(scores) for claim, scores in cells.items()}
        for row, cells in made["matrix"].items()
    }
    claims = list(next(iter(matrix.values())))
    overlaps = sorted(made["overlaps"], key=lambda row: -row["jaccard"])
    told = [one for one in overlaps if {one["first"], one["second"]} <= set(claims)]
    groups = _site_groups(circuits, claims)
    return render_template(
        "comparison",
        made,
        shared=made.get("shared"),
        command=made.get("command"),
        n_sites=made.get("n_sites"),
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
        figure=Markup(page_overlap(made["overlaps"])),
    )


def soft(name: str) -> Markup:
    """A name that may be broken after its hyphens and underscores."""
    broken = escape(name)
    for letter in "_-":
        broken = broken.replace(letter, Markup(f"{letter}<wbr>"))
    return broken


def _scores(rows: Sequence[Mapping[str, Any]]) -> tuple[DesideratumScore, ...]:
    return card_from_json({"desiderata": rows, "checks": ()}).desiderata


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


def _problems(made: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with the content of a compare.json."""
    circuits, matrix = made.get("circuits"), made.get("matrix")
    if not isinstance(circuits, dict) or not isinstance(matrix, dict) or not circuits:
        yield "circuits and matrix must be objects, by the names of circuits"
        return
    for name, read in circuits.items():
        try:
            circuit_from_json(read)
        except ValueError as error:
            yield f"{name}: {error}"
    yield from _overlap_problems(made.get("overlaps"), circuits)
    yield from _matrix_problems(matrix, circuits)
    shared = made.get("shared")
    if shared is not None and not (
        isinstance(shared, dict)
        and isinstance(shared.get("success"), bool)
        and isinstance(shared.get("message"), str)
        and "shared" in circuits
    ):
        yield "shared must be null, or an object with success and message beside such a circuit"
    if not isinstance(made.get("command", ""), str) or type(made.get("n_sites", 0)) is not int:
        yield "command must be text, and n_sites a whole number"


def _overlap_problems(rows: Any, circuits: Mapping[str, Any]) -> Iterator[str]:
    if not isinstance(rows, list) or not rows:
        yield "overlaps must be a list with a row for each two circuits"
        return
    for place, row in enumerate(rows, 1):
        if not isinstance(row, dict) or not {row.get("first"), row.get("second")} <= set(circuits):
            yield f"overlap {place} must name two of the circuits as first and second"
        elif not all(_is_number(row.get(key)) for key in ("shared", "jaccard", "chance", "p")):
            yield f"overlap {place}: shared, jaccard, chance and p must be finite numbers"


def _matrix_problems(matrix: Mapping[str, Any], circuits: Mapping[str, Any]) -> Iterator[str]:
    if set(matrix) != set(circuits):
        yield f"the matrix must have these rows: {', '.join(circuits)}; got {', '.join(matrix)}"
        return
    shapes = []
    for name, cells in matrix.items():
        if not isinstance(cells, dict) or not cells or not set(cells) <= set(circuits):
            yield f"matrix row {name}: expected scores by the names of circuits"
            continue
        for claim, rows in cells.items():
            if problem := _score_problem(rows):
                yield f"matrix row {name}, claim {claim}: {problem}"
                return
        shapes.append({claim: [row["name"] for row in rows] for claim, rows in cells.items()})
    if any(shape != shapes[0] for shape in shapes):
        yield "the rows of the matrix must have the same claims, with the same desiderata"


def _score_problem(rows: Any) -> str | None:
    try:
        scores = _scores(rows)
    except (TypeError, ValueError) as error:
        return f"expected a list of scores: {error}"
    for score in scores:
        if not all(_is_number(getattr(score, key)) for key in SHARES) or type(score.n) is not int:
            return f"{score.name}: n and {', '.join(SHARES)} must be finite numbers"
    return None if scores else "there are no desiderata"


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and isfinite(value)
