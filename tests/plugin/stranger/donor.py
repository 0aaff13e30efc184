"""A donor: the base prompt itself, so that patching changes nothing."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Neighbour:
    name = "neighbour"
    aligned = True
    placed = False

    def prompts(self, base, source, mean_over):
        return base

    def runs_in(self, model):
        return model

    def value(self, acts, n_pairs):
        return acts


NEIGHBOUR = Neighbour()
