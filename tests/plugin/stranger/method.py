"""A search method: sites in the order of the alphabet."""

import torch

from circuitfind.search import MethodSpec, finish
from circuitfind.search.ranks import ranked


def search_alphabet(problem, config, progress):
    order = sorted(range(len(problem.sites)), key=lambda n: str(problem.sites[n]))
    ranking = torch.zeros(len(order))
    ranking[order] = torch.arange(len(order), 0, -1).float()
    progress.report("alphabet", 1, 1, {})
    return finish("alphabet", problem, ranked(ranking, config), (), config)


alphabet = MethodSpec(
    name="alphabet", run=search_alphabet, idea="sites by their names", source="a stranger"
)
