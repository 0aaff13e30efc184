"""The text of what was given as tokens or as the turns of a chat, as a model's tokenizer has it."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from desiderata import Prompt, Span, TokenIds


@dataclass(frozen=True, eq=False)
class Writer:
    """Writes prompts and answers out with one tokenizer.

    A chat goes through the tokenizer's template, up to where the assistant's turn begins. Where the
    template begins with BOS and the tokenizer adds one too, the template's is left out, so that it
    is there once.
    """

    tokenizer: Any

    def __call__(self, given: Prompt | str) -> Any:
        """The prompt with its text, or the answer's text; what already is text stays as it is.

        Raises:
            ValueError: a chat, and no chat template.
        """
        if isinstance(given, TokenIds):
            return self.decode(given.ids)
        if isinstance(given, str):
            return given
        if given.ids:
            return self._prompt_of_ids(given)
        return self._prompt_of_turns(given) if given.turns else given

    def _prompt_of_ids(self, given: Prompt) -> Prompt:
        """The prompt's text, with spans over the characters of their tokens. In the stand-in each
        word is a token."""
        ends = [len(self.decode(given.ids[:n])) for n in range(len(given.ids) + 1)]
        spans = []
        for span in given.spans:
            first = given.text.count(" ", 0, span.start)
            last = given.text.count(" ", 0, span.end - 1)
            spans.append(Span(span.name, ends[first], ends[last + 1]))
        return replace(given, text=self.decode(given.ids), spans=tuple(spans))

    def _prompt_of_turns(self, given: Prompt) -> Prompt:
        """The chat's text, with spans where the same words stand in the same turn. In the stand-in
        each turn is a line, its role before its content."""
        text, spans, here, there = self.chat(given.turns), [], 0, 0
        for role, content in given.turns:
            start = here + len(f"{role}: ")
            place = text.find(content.strip(), there)
            lead = len(content) - len(content.lstrip())
            for span in given.spans:
                if start <= span.start < start + len(content) and place >= 0:
                    shift = place - lead - start
                    spans.append(Span(span.name, span.start + shift, span.end + shift))
            here = start + len(content) + 1
            there = max(there, place + len(content.strip()))
        return replace(given, text=text, turns=(), spans=tuple(spans))

    def decode(self, ids: tuple[int, ...]) -> str:
        """The text of these tokens."""
        return self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)

    def chat(self, turns: tuple[tuple[str, str], ...]) -> str:
        """The text of these turns, up to where the assistant speaks."""
        if not getattr(self.tokenizer, "chat_template", None):
            raise ValueError(
                "prompts are turns of a chat, and this model's tokenizer has no chat template; "
                "take an instruction-tuned model, or write the prompts as text"
            )
        text = self.tokenizer.apply_chat_template(
            [{"role": role, "content": content} for role, content in turns],
            tokenize=False,
            add_generation_prompt=True,
        )
        bos = self.tokenizer.bos_token
        if bos and self._adds_bos() and text.startswith(bos):
            return text[len(bos) :]
        return text

    @cache  # noqa: B019 - a writer lives as long as one claim is fitted
    def _adds_bos(self) -> bool:
        return self.tokenizer("x")["input_ids"][:1] == [self.tokenizer.bos_token_id]
