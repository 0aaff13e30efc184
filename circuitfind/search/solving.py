"""The circuit that a method finds, whatever the method."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from desiderata import Desideratum

from ..mediators.space import SearchSpace, Selector
from ..models.model import Model
from ..objective.encoding import Batch
from ..objective.objective import NotANumber
from ..progress import Progress
from .config import SearchConfig
from .finish import failed_result, finish
from .method import Method, MethodSpec
from .methods import METHODS
from .problem import SearchProblem
from .result import SearchResult
from .trials import ChosenCircuit, Trials


def method_named(method: str | MethodSpec | Method) -> MethodSpec:
    """The method with this name; a MethodSpec is returned as it is.

    A function of the signature `Method` is one too. Its name is its `__name__`.

    Raises:
        LookupError: no such method; the message lists those there are.
        ValueError: a function without a name, or with the name of a method in the table.
        TypeError: none of these.
    """
    if isinstance(method, str | MethodSpec):
        return METHODS.named(method)
    if not callable(method):
        raise TypeError(
            f"a method is a name, a MethodSpec or a function; got a {type(method).__name__}"
        )
    name = getattr(method, "__name__", "")
    if not name.isidentifier():
        raise ValueError("this function has no name; wrap it: MethodSpec(name=..., run=...)")
    if name in METHODS.names():
        raise ValueError(
            f"the method {name!r} is another one already; rename the function, or wrap it: "
            "MethodSpec(name=..., run=...)"
        )
    return MethodSpec(name=name, run=method)


def search(
    model: Model,
    desiderata: Sequence[Desideratum] | Sequence[Batch],
    method: str | MethodSpec | Method = "constrained",
    *,
    sites: SearchSpace | Sequence[Selector] | None = None,
    config: SearchConfig | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """The circuit that a method finds for these desiderata.

    Args:
        desiderata: as sampled, or already encoded batches.
        method: its name, or the method itself as in `method_named`.
        sites: the search space, or selectors of it such as `["heads"]` or `["a20-29.*@last"]`
            (`SearchSpace`); by default every head and MLP at the desiderata's positions.

    Raises:
        LookupError: an unknown method.
        ValueError: desiderata that cannot be encoded for this model; selectors that select
            nothing; a size that the sites do
            not allow; pins and vetoes that are not among them.
    """
    spec = method_named(method)
    problem = SearchProblem.open(model, desiderata, sites=sites, config=config)
    return solve(problem, spec, config, progress)


def solve(
    problem: SearchProblem,
    method: str | MethodSpec | Method = "constrained",
    config: SearchConfig | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """The circuit that a method finds on pairs that are ready.

    Its cost is all that is on the account of the pairs.

    Args:
        method: its name, or the method itself as in `method_named`.
        config: by default what the pairs were opened with, whose pins, vetoes and margin it has to
            have.

    Raises:
        LookupError: an unknown method.
        ValueError: pairs that the method cannot use; other pins, vetoes or margin; a size that
            the sites do not allow.
    """
    spec, config = method_named(method), problem.agreed(config)
    if config.polish is None:
        config = replace(config, polish=spec.polish)
    try:
        if not problem.sites or config.left == 0:
            return _nothing_left(problem, spec.name, config)
        found = spec.run(problem, config, progress or Progress())
    except NotANumber as error:
        return failed_result(problem, spec.name, config, error)
    # A method of somebody else may end in `finish` under another name than it is known by.
    return replace(found, circuit=replace(found.circuit, method=spec.name))


def _nothing_left(problem: SearchProblem, method: str, config: SearchConfig) -> SearchResult:
    """The result where pins and vetoes leave a method nothing to choose: the pins."""

    def choose(trials: Trials) -> ChosenCircuit:
        trials.slacks([frozenset()])
        return ChosenCircuit(frozenset(), torch.zeros(len(problem.sites)))

    return finish(method, problem, choose, (), config)
