"""What every method is given: pairs to fit on, pairs to select on, and what has to hold there."""

from collections.abc import Sequence
from dataclasses import dataclass

from desiderata import Desideratum
from desiderata.dividing import NEEDED

from ..mediators.site import Site
from ..mediators.space import SearchSpace, Selector, space_of
from ..models.model import Model
from ..objective.cost import Cost
from ..objective.encoding import Batch, encode
from ..objective.objective import Bound, Objective
from .fixed import with_fixed
from .result import SearchConfig
from .trials import Trials


@dataclass(frozen=True, kw_only=True)
class SearchProblem:
    """Search pairs in two parts: a third to fit on, the rest to select hard circuits on.

    `bounds` are measured on the selection pairs; `margin` is by how much each must be cleared
    there; `live` are the desiderata that are not vacuous, or all where every one is. `config` is
    what they were opened with: its pins, vetoes and margin are those of every search on these
    pairs.
    """

    model: Model
    config: SearchConfig
    fit: Objective
    select: Objective
    bounds: tuple[Bound, ...]
    margin: tuple[float, ...]
    live: tuple[int, ...]
    space: SearchSpace

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites to choose among."""
        return self.fit.sites

    @property
    def donor(self) -> str:
        """What patched sites take, by name; several names where desiderata differ."""
        names = (batch.donor.name for batch in self.select.batches)
        return " and ".join(dict.fromkeys(names))

    def agreed(self, config: SearchConfig | None) -> SearchConfig:
        """The settings of a search on these pairs, by default those that they were opened with.

        Raises:
            ValueError: other pins, vetoes or margin; a size that the sites do not allow.
        """
        if config is None:
            return self.config
        other = [
            name
            for name in ("pins", "vetoes", "margin")
            if _plain(getattr(config, name)) != _plain(getattr(self.config, name))
        ]
        if other:
            raise ValueError(
                f"these pairs were opened with other {' and '.join(other)}; open them again "
                "(SearchProblem.open) with those of the search"
            )
        config.check_sites(self.select.every)
        return config

    def trials(self) -> Trials:
        """An empty record of hard circuits on the selection pairs."""
        return Trials(self.select, self.bounds, self.margin, self.live)

    @classmethod
    def open(
        cls,
        model: Model,
        desiderata: Sequence[Desideratum] | Sequence[Batch],
        *,
        sites: SearchSpace | Sequence[Selector] | None = None,
        config: SearchConfig | None = None,
        cost: Cost | None = None,
    ) -> "SearchProblem":
        """The pairs made ready for any number of searches that differ in method, seed or size.

        Args:
            desiderata: as sampled, or already encoded batches.
            sites: the search space or selectors of it (`SearchSpace`); by default every head and
                MLP at the desiderata's positions.
            config: its pins, vetoes and margin are those of every search on these pairs.
            cost: the account that this and all those searches go to; otherwise a new one.

        Raises:
            ValueError: desiderata that cannot be encoded for this model, or with fewer than three
                pairs; selectors that select nothing; a size that the sites do not allow; pins and
                vetoes that are not among them.
        """
        batches = tuple(
            item if isinstance(item, Batch) else encode(model, [item])[0] for item in desiderata
        )
        space = space_of(sites, positions_of([batch.desideratum for batch in batches]))
        candidates = space.sites(model.engine)
        config, cost = config or SearchConfig(), cost or Cost()
        config.check_sites(candidates)
        if small := [
            batch.desideratum.name
            for batch in batches
            if len(batch) < NEEDED and not batch.desideratum.exhaustive
        ]:
            raise ValueError(
                f"search needs at least three pairs of each desideratum; too few: {small}"
            )
        free = [site for site in candidates if str(site) not in {*config.pins, *config.vetoes}]
        every, fixed = with_fixed(free, batches, config)
        fit, select = (
            Objective(model, part, every, cost, fixed) for part in _fit_and_select(batches)
        )
        bounds = select.bounds()
        told = tuple(index for index, bound in enumerate(bounds) if not bound.vacuous)
        return cls(
            model=model,
            config=config,
            fit=fit,
            select=select,
            bounds=bounds,
            margin=tuple(
                config.margin * bound.error(len(batch))
                for bound, batch in zip(bounds, select.batches, strict=True)
            ),
            live=told or tuple(range(len(bounds))),
            space=space,
        )


def candidate_sites(
    model: Model,
    desiderata: Sequence[Desideratum],
    sites: SearchSpace | Sequence[Selector] | None = None,
) -> tuple[Site, ...]:
    """The sites of a space in a model; by default every head and MLP at every position that the
    desiderata name."""
    return space_of(sites, positions_of(desiderata)).sites(model.engine)


def positions_of(desiderata: Sequence[Desideratum]) -> tuple[str, ...]:
    """Every position that the desiderata name."""
    return tuple(dict.fromkeys(name for desideratum in desiderata for name in desideratum.at))


def _fit_and_select(batches: Sequence[Batch]) -> tuple[list[Batch], list[Batch]]:
    """A third of each desideratum's pairs to fit on, and the rest to select on.

    Pairs come balanced over their answers in rounds, so that every third is a fair third. More are
    for selection, which decides: its noise is what makes a circuit fail on held-out pairs. Where
    one or two are all there are, both are on them.
    """
    fit, select = (
        [
            batch.take(
                [
                    row
                    for row in range(len(batch))
                    if len(batch) < NEEDED or (row % 3 == 0) == fitted
                ]
            )
            for batch in batches
        ]
        for fitted in (True, False)
    )
    return fit, select


def _plain(value: float | tuple[str, ...]) -> float | set[str]:
    return {*value} if isinstance(value, tuple) else value


def minibatches(problem: SearchProblem, n_pairs: int) -> list[Objective]:
    """The fit pairs of all desiderata in batches of up to about this many pairs of each."""
    fit = problem.fit
    sizes = [len(batch) for batch in fit.batches]
    n_batches = max(1, min(max(sizes) // n_pairs, *sizes))
    if n_batches == 1:
        return [fit]
    return [
        Objective(
            problem.model,
            [batch.take(range(number, len(batch), n_batches)) for batch in fit.batches],
            fit.every,
            fit.cost,
            fit.decided,
        )
        for number in range(n_batches)
    ]
