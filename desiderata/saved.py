"""Inputs saved beside a model, each with the outputs that it gives: what `suffices` must keep.

The claim: with everything outside the circuit ablated, at every token and on every saved input,
each output stays. It compiles into one desideratum for each index at which there are outputs.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from .choices import TOP, AnswerChoice, DonorChoice, donor_problems, name_of
from .claim import Sample, SamplingError, positions_of
from .desideratum import Desideratum, Pair
from .prompt import Prompt
from .sampling import HELD_OUT_SHARE

DIVIDE_FROM = 300  # saved inputs from which on a third is held out; fewer are all needed
ROUNDS = 3  # times that search sees each input, so that each is among those that it selects on


@dataclass(frozen=True)
class Saved:
    """An input and the words that the model puts out there, by index of the token (from 0)."""

    text: str
    outputs: Mapping[int, str]


@dataclass(frozen=True)
class SavedInputs:
    """The claim that the circuit alone keeps every output on the saved inputs.

    Args:
        inputs: two or more, all with outputs at the same indices.
        donor: what everything outside the circuit takes: `zero`; the `mean` over all saved
            inputs, at each token by itself; `resample`, the activations of the saved input before
            (for the first, of the last); or `source`, those of another saved input whose output
            there differs, drawn by the seed.

    Raises:
        ValueError: an unknown donor, fewer than two inputs, or one input twice.
    """

    inputs: tuple[Saved, ...]
    donor: DonorChoice = "source"
    at: tuple[str, ...] = ("all",)

    def __post_init__(self) -> None:
        problems = donor_problems(self.donor)
        if len({saved.text for saved in self.inputs}) < max(2, len(self.inputs)):
            problems.append("two or more saved inputs are needed, no two with the same text")
        if len({tuple(sorted(saved.outputs)) for saved in self.inputs}) > 1:
            problems.append("all saved inputs need outputs at the same indices")
        if problems:
            raise ValueError("; ".join(problems))

    @property
    def name(self) -> str:
        """The claim in words; the donor is always named."""
        return f"suffices at {' and '.join(self.at)} on saved inputs, donor {name_of(self.donor)}"

    @property
    def is_divided(self) -> bool:
        """Whether there are so many inputs that some are held out."""
        return len(self.inputs) >= DIVIDE_FROM

    def notes(self, seed: int = 0) -> tuple[str, ...]:
        """What search and held-out pairs share, and what is ablated how, in words."""
        told = {
            "zero": "ablated to zero",
            "mean": f"ablated to the mean over all {len(self.inputs)} saved inputs, at each token",
            "resample": "ablated to the activations of the saved input before",
            "source": "ablated to the activations of a saved input with another output there",
        }
        donor = name_of(self.donor)
        notes = [told.get(donor, f"ablated by {donor}")]
        if not self.is_divided:
            notes.append(
                f"search and held-out pairs are about the same {len(self.inputs)} saved inputs: "
                "the claim is about these, and nothing here says more about others"
            )
        if self.donor == "source" and (constant := self._constant()):
            notes.append(
                f"the output at {', '.join(map(str, constant))} is the same on all saved inputs, "
                "so that no source differs there"
            )
        return tuple(notes)

    def sample(self, n: int, seed: int = 0) -> Sample:
        """Desiderata for search and desiderata held out, each with up to `n` pairs.

        Search sees an input up to three times, and validation once.

        Raises:
            SamplingError: n is less than 1.
        """
        if n < 1:
            raise SamplingError([f"n must be at least 1 pair; got {n}"])
        order = list(range(len(self.inputs)))
        search, held_out = order, order
        if self.is_divided:
            random.Random(f"saved/{seed}").shuffle(order)
            cut = round(len(order) * HELD_OUT_SHARE)
            search, held_out = sorted(order[cut:]), sorted(order[:cut])
        sides = (("search", search, ROUNDS), ("held out", held_out, 1))
        made = [
            tuple(self._desideratum(at, side, n, rounds, f"{seed}/{name}") for at in self.indices)
            for name, side, rounds in sides
        ]
        return made[0], made[1]

    def everything(self, seed: int = 0) -> tuple[Desideratum, ...]:
        """One desideratum for each output, with every saved input once: what a truth is about."""
        order = list(range(len(self.inputs)))
        return tuple(
            self._desideratum(at, order, len(order), 1, f"{seed}/all") for at in self.indices
        )

    @property
    def indices(self) -> tuple[int, ...]:
        """The tokens at which there are outputs."""
        return tuple(sorted(self.inputs[0].outputs))

    def moved(self, at: str | Sequence[str]) -> "SavedInputs":
        """The same claim about other positions."""
        return replace(self, at=positions_of(at))

    def answered(self, answer: AnswerChoice) -> "SavedInputs":
        """The same claim: what was saved are the most likely words, and there is nothing else to
        ask.

        Raises:
            ValueError: another answer than `top`.
        """
        if answer != TOP:
            raise ValueError("saved inputs have the most likely word, so that the answer is top")
        return self

    def ablated(self, donor: DonorChoice) -> "SavedInputs":
        """The same claim with another donor."""
        return replace(self, donor=donor)

    def _desideratum(
        self, at: int, order: Sequence[int], n: int, rounds: int, seed: str
    ) -> Desideratum:
        """The pairs of one output, in random order; each round of the inputs begins at another
        one, so that an input does not always meet the same third of the rows."""
        rng = random.Random(f"saved/{seed}/{at}")
        rows = rng.sample(order, len(order))
        pairs: list[Pair] = []
        for turn in range(rounds):
            shift = turn if len(order) % 3 == 0 else 0
            bases = rows[shift:] + rows[:shift]
            sources = self._sources(at, order, rng)
            pairs += [self._pair(at, base, sources[base]) for base in bases]
        return Desideratum(
            name=f"suffices@{at}",
            part="outside",
            sense="keeps",
            pairs=tuple(pairs[:n]),
            at=self.at,
            at_least=1.0,
            donor=self.donor if self.donor in ("zero", "mean") else "source",
            read=str(at),
            mean_over=self._prompts() if self.donor == "mean" else (),
            exhaustive=not self.is_divided,
            every=not self.is_divided and rounds == 1 and n >= len(pairs),
        )

    def _sources(self, at: int, order: Sequence[int], rng: random.Random) -> dict[int, int]:
        """The source of each of these inputs."""
        before = dict(zip(order, [order[-1], *order[:-1]], strict=True))
        if self.donor == "resample":
            return before
        words = {index: self.inputs[index].outputs[at] for index in order}
        differ = {
            word: [index for index in order if words[index] != word] for word in set(words.values())
        }
        return {
            index: rng.choice(differ[word]) if differ[word] else before[index]
            for index, word in words.items()
        }

    def _pair(self, at: int, base: int, source: int) -> Pair:
        own, theirs = (self.inputs[index].outputs[at] for index in (base, source))
        base_prompt, source_prompt = (Prompt(self.inputs[index].text) for index in (base, source))
        return Pair(
            base=base_prompt,
            source=source_prompt,
            expected=f" {own}",
            base_answer=f" {own}",
            source_answer=f" {theirs}",
        )

    def _prompts(self) -> tuple[Prompt, ...]:
        return tuple(Prompt(saved.text) for saved in self.inputs)

    def _constant(self) -> list[int]:
        return [at for at in self.indices if len({saved.outputs[at] for saved in self.inputs}) == 1]
