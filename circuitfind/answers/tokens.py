"""What answers that are texts share: their tokens in context, and a distribution's numbers."""

from collections.abc import Iterable, Sequence

from jaxtyping import Float
from torch import Tensor

from desiderata import Prompt, Texts, texts_of

from ..models.model import Model
from .answer import Question
from .spelling import Logits, by_place

Ids = tuple[int, ...]
SHOWN = 4  # answers that a problem lists before the rest are counted
MERGES = (
    "{answers} merge{s} with the end of {its} prompt into one token; move the space between "
    "them from the prompt's end to the answer's start, or the reverse"
)
NO_TOKEN = "{answers} become{s} no token: the tokenizer drops {its} text"


def spelled(
    model: Model, questions: Sequence[Question], extra: Iterable[str] = ()
) -> tuple[list[dict[str, Ids]], list[str]]:
    """The tokens of each question's texts after its context, by text; and what is wrong in words.

    Args:
        extra: texts that every question is about, besides its answer and those that it names.
    """
    extra = tuple(extra)
    wanted = [
        list(
            dict.fromkeys(
                [*texts_of(q.answer or ()), *(t for n in q.named for t in texts_of(n)), *extra]
            )
        )
        for q in questions
    ]
    given = {q.context: q.ids for q in questions if q.ids}
    plain = {q.context: None for q in questions if not q.ids}
    texts = {
        q.context + text: None
        for q, mine in zip(questions, wanted, strict=True)
        if not q.ids
        for text in mine
    }
    tokens = dict(zip([*plain, *texts], model.tokenize([*plain, *texts]), strict=True))
    alone = _alone(
        model, {t for q, mine in zip(questions, wanted, strict=True) if q.ids for t in mine}
    )
    made: list[dict[str, Ids]] = []
    problems: dict[str, dict[str, None]] = {}  # what is wrong, with the answers that it is about
    for question, mine in zip(questions, wanted, strict=True):
        row: dict[str, Ids] = {}
        for text in mine:
            if question.context in given:
                ids: Ids | str = alone[text]
            else:
                context, whole = tokens[question.context].ids, tokens[question.context + text].ids
                ids = _after(model, context, whole)
            if isinstance(ids, str) or not ids:
                problems.setdefault(ids or NO_TOKEN, {})[text] = None  # type: ignore[arg-type]
            else:
                row[text] = ids
        made.append(row)
    return made, [_about(answers, wrong) for wrong, answers in problems.items()]


def _about(answers: Iterable[str], wrong: str) -> str:
    """What is wrong with these answers, once for all of them."""
    listed = list(map(repr, answers))
    if "{answers}" not in wrong:
        return wrong
    if len(listed) == 1:
        return wrong.format(answers=f"the answer {listed[0]}", s="s", its="its")
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    answers = f"the answers {', '.join(listed[:SHOWN])}{more}"
    return wrong.format(answers=answers, s="", its="their")


def _alone(model: Model, texts: Iterable[str]) -> dict[str, Ids]:
    """The tokens of texts by themselves, for prompts whose tokens were given."""
    return {
        text: tuple(model.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts
    }


def _after(model: Model, context: Ids, whole: Ids) -> Ids | str:
    if whole[: len(context)] == context:
        return whole[len(context) :]
    special = getattr(model.tokenizer, "all_special_ids", ())
    if context and context[-1] in special and whole[-1:] == context[-1:]:
        ending = model.tokenizer.convert_ids_to_tokens(context[-1])
        return (
            f"the tokenizer ends every text with {ending}, so that nothing can follow a prompt; "
            "load it without (such as add_eos_token=False)"
        )
    return MERGES


def merging(model: Model, asked: Sequence[tuple[Prompt, Sequence[Texts]]]) -> list[int]:
    """Which of these prompts have an answer that changes the prompt's own tokens, by index."""
    questions = [
        Question(prompt.text, None, tuple(answers), prompt.ids) for prompt, answers in asked
    ]
    found, problems = spelled(model, questions)
    if not problems:
        return []
    wanted = [{t for answer in one.named for t in texts_of(answer)} for one in questions]
    return [
        row for row, (mine, texts) in enumerate(zip(found, wanted, strict=True)) if texts - {*mine}
    ]


def kl(
    untouched: Float[Tensor, "pair *place d_vocab"], output: Logits
) -> Float[Tensor, "mask pair"]:
    """KL(untouched || output) of the next token after the prompt, in nats."""
    before = by_place(untouched[None])[0, :, 0].log_softmax(-1)
    after = by_place(output)[:, :, 0].log_softmax(-1)
    return (before.exp() * (before - after)).sum(-1).clamp(min=0)
