"""Circuits of several claims side by side: what they share, and whether one serves another."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from scipy import stats

from desiderata import is_table

from ..circuits.circuit import Circuit
from ..circuits.storage import write_text
from ..claims import digest_of_task, own_file
from ..mediators.space import joined
from ..models.model import Model
from ..objective.cost import Cost
from ..objective.encoding import Batch
from ..objective.mask import membership_of
from ..objective.objective import Objective
from ..progress import Progress
from ..report import save_figure
from ..report.figures.matrix import draw_matrix
from ..report.figures.plots import draw_overlap
from ..search import SearchResult, positions_of, search
from ..validate import DesideratumScore
from ..validate.comparison import Matrix, Overlap
from ..validate.scores import score_desiderata
from .consent import Named, permitted
from .folder import COMPARISON, read_run
from .lock import WAIT, locked
from .pairs import gather
from .pictures import write_comparison_page
from .run import sign
from .settings import Settings, search_config


@dataclass(frozen=True)
class Side:
    """One claim in a comparison: its circuit, and its pairs ready for search and held out."""

    name: str
    circuit: Circuit
    settings: Settings
    search: tuple[Batch, ...]
    held_out: tuple[Batch, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """`matrix[circuit][claim]` are the scores of each desideratum of the claim, held out.

    The last row is the shared circuit where one was searched for; `shared` is that search.
    `n_sites` are the candidates that chance is counted among, `command` what compares them again.
    """

    overlaps: tuple[Overlap, ...]
    matrix: Matrix
    circuits: Mapping[str, Circuit]
    shared: SearchResult | None
    n_sites: int
    command: str = ""

    def as_json(self) -> dict[str, Any]:
        """The comparison as plain values."""
        return {
            "circuits": {name: circuit.as_json() for name, circuit in self.circuits.items()},
            "overlaps": [asdict(overlap) for overlap in self.overlaps],
            "matrix": {
                row: {name: [asdict(score) for score in scores] for name, scores in cells.items()}
                for row, cells in self.matrix.items()
            },
            "shared": self.shared
            and {"success": self.shared.success, "message": self.shared.message},
            "n_sites": self.n_sites,
            "command": self.command,
        }


def overlap(first: Circuit, second: Circuit, n_sites: int, names: tuple[str, str]) -> Overlap:
    """How much two circuits out of the same `n_sites` candidates share.

    Chance is exact: the shared number of two random circuits is hypergeometric.
    """
    a, b = len(first), len(second)
    both = len(set(first.sites) & set(second.sites))
    law = stats.hypergeom
    chance = sum(float(law.pmf(k, n_sites, a, b)) * _jaccard(k, a, b) for k in range(min(a, b) + 1))
    p = float(law.sf(both - 1, n_sites, a, b))
    one, other = names
    return Overlap(
        first=one, second=other, shared=both, jaccard=_jaccard(both, a, b), chance=chance, p=p
    )


def _jaccard(both: int, a: int, b: int) -> float:
    return both / (a + b - both) if a + b else 1.0


def open_sides(
    paths: Sequence[str | Path],
    model: Model | None = None,
    n: int | None = None,
    *,
    to_search: bool = True,
    named: Named | None = None,
    tasks: Sequence[str] = (),
) -> tuple[Model, tuple[Side, ...]]:
    """The model that finished runs share, and each run's circuit with its claim's pairs.

    Args:
        model: another model to compare on.
        n: another number of pairs than each run's own.
        to_search: look for the pairs of search too, which a shared circuit is sought on.
        named: what the user names for all of these runs; see `consent.permitted`.
        tasks: the files of these runs' claims, in any order; each run's is known by its digest.

    Raises:
        ValueError: fewer than two runs, two of the same name, or runs on different models.
        LookupError: no finished run there.
    """
    runs = [read_run(path) for path in paths]
    names = [Path(path).name for path in paths]
    settings = [one for one, _, _ in runs]
    problems = [] if len(runs) > 1 else ["compare needs at least two runs"]
    if len(set(names)) < len(names):
        problems.append(f"the runs' folders need different names; got {', '.join(names)}")
    models = sorted({one.model for one in settings})
    if model is None and len(models) > 1:
        problems.append(f"the runs are on different models ({', '.join(models)}); name one")
    if problems:
        raise ValueError("; ".join(problems))
    allowed = [
        permitted(one, path, _named_for(one, named, tasks, model))
        for one, path in zip(settings, paths, strict=True)
    ]
    model = model or allowed[0].load_model()
    sides = []
    for name, one, (_, circuit, _) in zip(names, allowed, runs, strict=True):
        one = one if n is None else replace(one, n=n)
        evidence = gather(model, one.load_claim(), one, to_search=to_search)
        sides.append(Side(name, circuit, one, evidence.search, evidence.held_out))
    return model, tuple(sides)


def _named_for(
    settings: Settings, named: Named | None, tasks: Sequence[str], model: Model | None
) -> Named:
    """What of the names that the user gives is about this run."""
    named = named or Named()
    own = own_file(settings.task) is not None or is_table(settings.task)
    fitting = [one for one in tasks if digest_of_task(one) == settings.task_digest]
    chosen = [*fitting, *(tasks if len(tasks) == 1 else ())]
    return replace(
        named,
        task=chosen[0] if own and chosen else None,
        held_out=named.held_out if settings.held_out else None,
        model=named.model or (model.name if model else None),
    )


def compare(
    model: Model,
    sides: Sequence[Side],
    *,
    shared: bool = False,
    method: str = "constrained",
    progress: Progress | None = None,
) -> Comparison:
    """The overlap of every two circuits, and every circuit on every claim's held-out pairs.

    Args:
        shared: also search for one circuit that satisfies the desiderata of all claims.

    Raises:
        LookupError: circuits at positions that another claim does not have.
        ValueError: a shared circuit is wanted, and a run has its name.
    """
    if shared and any(side.name == "shared" for side in sides):
        raise ValueError("one of the runs is called shared, as the circuit for all would be")
    circuits = {side.name: side.circuit for side in sides}
    found = _search_shared(model, sides, method, progress) if shared else None
    if found:
        circuits["shared"] = found.circuit
    matrix: dict[str, dict[str, tuple[DesideratumScore, ...]]] = {name: {} for name in circuits}
    n_sites = 0
    for side in sides:
        positions = positions_of([batch.desideratum for batch in side.held_out])
        space = joined([circuit.space for circuit in circuits.values()], positions)
        sites = space.sites(model.engine)
        n_sites = max(n_sites, len(sites))
        objective = Objective(model, side.held_out, sites, Cost())
        bounds = objective.bounds()
        for name, circuit in circuits.items():
            membership = membership_of(sites, circuit.sites)
            matrix[name][side.name] = score_desiderata(objective, bounds, membership)
    overlaps = [
        overlap(circuits[a], circuits[b], n_sites, (a, b)) for a, b in combinations(circuits, 2)
    ]
    return Comparison(
        overlaps=tuple(overlaps), matrix=matrix, circuits=circuits, shared=found, n_sites=n_sites
    )


def command_for(
    paths: Sequence[str | Path], model: str | None, n: int | None, shared: bool, out: str | Path
) -> str:
    """The command line that makes this comparison."""
    options = [("--model", model), ("--n", n), ("--out", out)]
    words = [str(word) for option in options if option[1] is not None for word in option]
    flags = ["--shared"] if shared else []
    return shlex.join(["circuitfind", "compare", *map(str, paths), *flags, *words])


def save_comparison(comparison: Comparison, folder: str | Path) -> None:
    """Write compare.json, the page compare.html, compare.svg, overlap.svg, and shared.json where
    one was searched for."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    content = json.dumps(comparison.as_json(), indent=2, ensure_ascii=False)
    rows = [asdict(overlap) for overlap in comparison.overlaps]
    with locked(folder, WAIT):
        if comparison.shared:
            comparison.shared.circuit.save(folder / "shared.json")
        elif (folder / COMPARISON).is_file():  # a comparison before may have had one
            (folder / "shared.json").unlink(missing_ok=True)
        save_figure(draw_matrix(comparison.matrix), folder / "compare.svg")
        save_figure(draw_overlap(rows, width="two"), folder / "overlap.svg")
        write_text(folder / COMPARISON, content + "\n")
        write_comparison_page(folder)


def _search_shared(
    model: Model, sides: Sequence[Side], method: str, progress: Progress | None
) -> SearchResult:
    """One search with the desiderata of all sides, each named after its side."""
    batches = [
        replace(
            batch,
            desideratum=replace(batch.desideratum, name=f"{side.name}: {batch.desideratum.name}"),
        )
        for side in sides
        for batch in side.search
    ]
    config = search_config(sides[0].settings)
    positions = positions_of([batch.desideratum for batch in batches])
    space = joined([side.circuit.space for side in sides], positions)
    result = search(model, batches, method, sites=space, config=config, progress=progress)
    claim = sides[0].settings.load_claim()
    circuit = replace(
        sign(result.circuit, model, claim, sides[0].settings),
        task=" + ".join(side.settings.task for side in sides),
        claim="; ".join(side.circuit.claim for side in sides),
    )
    return replace(result, circuit=circuit)
