"""The text of what was given as tokens or as the turns of a chat, as a model's tokenizer has it."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from desiderata import Prompt, TokenIds


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
            return replace(given, text=self.decode(given.ids))
        return replace(given, text=self.chat(given.turns), turns=()) if given.turns else given

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
