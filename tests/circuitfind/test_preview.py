"""The look before a run: known numbers, known refusals, and text that nobody should trust."""

# pyright: reportOptionalMemberAccess=false, reportOptionalSubscript=false

import json
import math
from dataclasses import replace

import pytest
import torch

import circuitfind
from circuitfind.answers.known import answer_of
from circuitfind.models.loading import load_model
from circuitfind.objective.cost import Cost
from circuitfind.objective.encoding import encode
from circuitfind.objective.objective import Objective
from circuitfind.objective.precheck import solves
from circuitfind.report.text.preview import duration, preview_text, solved_table, visible
from circuitfind.runs.accuracy import accuracy
from circuitfind.runs.look import look_at, named_by
from circuitfind.runs.pairs import gather
from circuitfind.runs.preview import preview
from circuitfind.runs.settings import Settings
from circuitfind.search import candidate_sites
from desiderata import Alternatives, CausalModel, Desideratum, Pair, Prompt, choice, pairs_hold
from tasks.variable_binding import claim as binding

from .test_cli import call  # noqa: F401
from .test_notebook import Reader, html_of


@pytest.fixture(scope="module")
def binder():
    return load_model("binder", device="cpu")


def shown(model, name):
    """A binding claim in words that `binder` knows; which answers it expects is up to the test."""
    drawn, _ = binding.sample(24, 0)
    return [pair for one in drawn if one.sense == "follows" for pair in one.pairs][:24]


def wrong_words(pairs, wrong):
    """The same pairs with other answers in the place of their own."""
    return [
        replace(pair, expected=wrong[0], base_answer=wrong[1], source_answer=wrong[0])
        for pair in pairs
    ]


@pytest.fixture(scope="module")
def likely(binder):
    return the_most_likely(binder)


def the_most_likely(model):
    """A claim whose answers are never the top token, but beat the other named one."""
    pairs = []
    for pair in shown(model, "x"):
        batch = encode(model, [Desideratum("d", "inside", "follows", (pair,))])[0]
        ranks = []
        for prompts in (batch.base, batch.source):
            output, _ = model.engine.forward(prompts.tokens, prompts.attends)
            ranks.append(output[0].argsort(descending=True).tolist())
        base, source = ranks
        words = model.tokenizer.convert_ids_to_tokens

        # The second of each prompt, which the first of it beats and which is unlikely in the other.
        own = next(one for one in base[1:] if base.index(one) < source.index(one))
        other = next(one for one in source[1:] if source.index(one) < base.index(one))
        own, other = f" {words(own)}", f" {words(other)}"
        pairs.append(replace(pair, expected=other, base_answer=own, source_answer=other))
    return pairs_hold("second", pairs, sense="follows")


def test_known_numbers_on_a_model_that_solves_everything(binder):
    made = preview(binder, binding)
    assert not made.refused and made.problems == () and made.suggestions == ()
    assert [(one.solved, one.n, one.preferred, one.compared) for one in made.desiderata] == [
        (16, 16, 16, 16)
    ] * 3
    assert (made.right.right, made.right.n) == (96, 96) and made.values == ()
    assert [(one.null, one.ceiling) for one in made.desiderata] == [(0.0, 1.0)] * 3
    example = made.desiderata[0].examples[0]
    assert example.base.top[0][0] == example.base.answer.texts[0].strip()
    assert example.source.top[0][0] == example.expected.texts[0].strip()
    assert list(example.base.marked.values()) == [len(example.base.tokens) - 1]
    assert "".join(example.base.tokens) == example.base.text


def test_the_numbers_are_those_of_the_functions_that_a_run_uses(binder):
    """On a task that the model partly solves: words that it has never seen in that place."""
    hard = replace(binding, rules=binding.rules[:1])
    sampled, _ = hard.sample(240, 0)
    mixed = list(sampled[0].pairs[:16])
    for row in (1, 4, 5):
        pair = mixed[row]
        mixed[row] = replace(pair, base_answer=pair.expected, expected=pair.base_answer)
    mixed[7] = replace(mixed[7], source_answer=mixed[7].base_answer)  # only the source is wrong
    given = replace(sampled[0], pairs=tuple(mixed))
    (look,), problems = look_at(binder, [given])
    assert problems == ()
    (batch,) = encode(binder, [given])
    assert list(look.solved) == solves(binder, batch, Cost()).tolist()
    assert [row for row, right in enumerate(look.solved) if not right] == [1, 4, 5, 7]
    named = [
        encode(binder, [replace(given, pairs=(pair,), answer=Alternatives(named_by(pair)))])[0]
        for pair in given.pairs
    ]
    assert list(look.preferred) == [bool(solves(binder, one, Cost())[0]) for one in named]
    assert answer_of(named[0].desideratum).name == "among"


def test_null_and_ceiling_are_those_of_the_objective(binder):
    made = preview(binder, binding, n=8)
    sampled, _ = binding.sample(240, 0)
    for row, one in zip(made.desiderata, sampled, strict=True):
        (batch,) = encode(binder, [replace(one, pairs=one.pairs[:8])])
        (bound,) = Objective(binder, [batch], candidate_sites(binder, [one])).bounds()
        assert (row.null, row.ceiling, row.n) == (bound.null, bound.ceiling, 8)


def test_odds_are_differences_of_logits_and_shares_add_up(binder):
    said = preview(binder, binding, n=4).desiderata[0].examples[0].base
    tokens = torch.tensor([binder.tokenize([said.text])[0].ids])
    logits, _ = binder.engine.forward(tokens, torch.ones_like(tokens))
    logits = logits[0].float()
    ids = [binder.tokenizer.convert_tokens_to_ids(texts[0].strip()) for texts, _ in said.odds]
    mine, other = (nats for _, nats in said.odds)
    assert mine == pytest.approx(float(logits[ids[0]] - logits[ids[1]]), abs=1e-3)
    assert other == pytest.approx(-mine)
    best = logits.softmax(-1).max()
    assert said.top[0][1] == pytest.approx(float(best), abs=1e-5)
    assert [share for _, share in said.top] == sorted((s for _, s in said.top), reverse=True)


def test_a_preference_is_suggested_where_it_is_right_and_only_there(binder, likely):
    made = preview(binder, likely)
    (row,) = made.desiderata
    assert row.solved == 0 and row.preferred == row.compared == 16
    assert made.refused and len(made.problems) == 1
    assert len(made.suggestions) == 1 and "16 of 16 pairs" in made.suggestions[0]
    assert 'among="named"' in made.suggestions[0]
    assert "16 of 16 pairs" in str(made)

    flipped = [
        replace(
            pair,
            expected=pair.base_answer,
            base_answer=pair.expected,
            source_answer=pair.base_answer,
        )
        for pair in likely.desiderata[0].pairs
    ]
    worse = preview(binder, pairs_hold("flipped", flipped, sense="follows"))
    assert worse.desiderata[0].preferred == 0 and worse.refused and worse.suggestions == ()


def test_few_alternatives_are_written_out(binder):
    pairs = wrong_words(shown(binder, "x"), (" Helen", " Oscar"))
    (look,), _ = look_at(binder, [Desideratum("d", "inside", "follows", tuple(pairs))])
    assert look.few == ((" Helen",), (" Oscar",))
    keeps = [replace(pair, expected=" Oscar", source_answer=" Oscar") for pair in pairs]
    alone = Desideratum("k", "inside", "keeps", tuple(keeps))
    both, _ = look_at(binder, [look.desideratum, alone])
    assert len(both[1].compared) == 16  # by what other desiderata name
    (look,), _ = look_at(binder, [alone])
    assert look.compared == ()


def test_refusal_needs_certainty(binder):
    pairs = shown(binder, "x")[:16]

    def refused(right):
        mixed = [
            pair if row < right else replace(pair, base_answer=" Helen")
            for row, pair in enumerate(pairs)
        ]
        given = Desideratum("d", "inside", "follows", (*mixed, *shown(binder, "x")[16:]))
        (look,), _ = look_at(binder, [given])
        assert sum(look.solved) == right
        return look.refused

    # The 95 % interval of 3 of 16 ends at 0.46, that of 4 of 16 at 0.52.
    assert [refused(right) for right in (0, 3, 4, 16)] == [True, True, False, False]
    few = Desideratum("d", "inside", "follows", tuple(wrong_words(pairs[:2], (" Helen", " Oscar"))))
    assert look_at(binder, [few])[0][0].refused  # there are no more
    assert not look_at(binder, [replace(few, pairs=(*few.pairs, *pairs))], 2)[0][0].refused


def test_discover_refuses_with_the_table_after_a_look(binder, likely, monkeypatch):

    def went_on(*_):
        raise AssertionError("it should have been refused before all pairs are run")

    monkeypatch.setattr("circuitfind.runs.pairs.keep_solved", went_on)
    with pytest.raises(ValueError) as refused:
        gather(binder, likely, Settings(task="second", n=16))
    said = str(refused.value)
    made = preview(binder, likely)
    wanted = [line.rstrip() for line in solved_table([look_row(made)])]
    assert all(line in said for line in wanted)
    assert said.count("answers both prompts") == 1 and made.suggestions[0] in said
    assert "held-out" not in said and "--force" not in said  # without a solved pair nothing goes on


def look_row(made):
    """The row of a preview's only desideratum, as a refusal has it."""
    (row,) = made.as_json()["desiderata"]
    return {key: row[key] for key in ("name", "n", "solved", "compared", "preferred")}


def test_force_does_not_look(binder, monkeypatch):
    def looked(*_):
        raise RuntimeError("looked")

    monkeypatch.setattr("circuitfind.runs.pairs.look_at", looked)
    gather(binder, binding, Settings(task="x", n=4, force=True))
    with pytest.raises(RuntimeError, match="looked"):
        gather(binder, binding, Settings(task="x", n=4))


def test_each_problem_is_told_once_and_the_rest_is_shown(binder):
    long = replace(binding, rules=binding.rules[:1])
    sampled, _ = long.sample(20, 0)
    pairs = list(sampled[0].pairs)
    for row in (3, 5):
        unknown = Prompt(pairs[row].base.text.replace("bought", "zebra") + " zebra")
        pairs[row] = replace(pairs[row], base=unknown)
    made = preview(binder, pairs_hold("long", pairs, sense="follows"), n=8)
    assert made.refused and len(made.problems) == 1 and "zebra" in made.problems[0]
    (row,) = made.desiderata
    assert row.n < 8 and row.solved == row.n  # the others are looked at all the same
    assert row.null is None and made.estimate is None
    nowhere = preview(binder, binding.moved("sofa"))
    assert len(nowhere.problems) == 1 and "'sofa'" in nowhere.problems[0]
    assert [one.solved for one in nowhere.desiderata] == [16] * 3


def test_a_task_that_fails_is_a_problem_with_its_line(binder):
    def city(country):
        return {"France": "Paris"}[country]

    broken = CausalModel(
        inputs={"country": choice(["France", "Spain"])},
        mechanisms=[city],
        prompt="The city of {country} is",
        completion=" {city}",
        answer="city",
    )
    made = preview(binder, broken.carries("city"))
    assert made.refused and made.desiderata == ()
    assert "KeyError: 'Spain'" in made.problems[0] and "city(country=" in made.problems[0]
    assert "Spain" in str(made)
    json.dumps(made.as_json(), allow_nan=False)


def test_words_that_the_model_does_not_know(binder):
    pairs = [Pair(Prompt(f"{w} zebra"), Prompt(f"{w} gnu"), " a", " b") for w in "xyzuvw"]
    made = preview(binder, pairs_hold("words", pairs, sense="follows"))
    assert made.refused and any("does not know the word" in one for one in made.problems)
    assert made.desiderata[0].examples[0].base.top == ()


def test_a_missing_space_is_found(tiny):
    """In a tokenizer of words a space makes no difference, so that none is missing."""
    model = tiny("llama")
    pairs = [
        Pair(Prompt(f"w1 w2 w{n}"), Prompt(f"w2 w1 w{n}"), "w5", "w6", source_answer="w5")
        for n in range(20)
    ]
    assert not any("space" in one for one in preview(model, given(pairs)).suggestions)
    trailing = [
        replace(pair, base=Prompt(pair.base.text + " "), source=Prompt(pair.source.text + " "))
        for pair in pairs
    ]
    made = preview(model, given(trailing))
    assert any("end with a space" in one for one in made.suggestions)


def given(pairs):
    return pairs_hold("given", pairs, sense="follows")


def test_values_come_worst_first(binder):
    pairs = []
    for row, pair in enumerate(shown(binder, "x")[:12]):
        kind = ("good", "bad", "half")[row % 3]
        wrong = kind == "bad" or (kind == "half" and row % 2)
        inputs = {"kind": kind, "many": row}
        own = " Helen" if wrong else pair.base_answer
        pairs.append(replace(pair, base_answer=own, source_answer=None, base_inputs=inputs))
    looks, _ = look_at(binder, [Desideratum("d", "inside", "follows", tuple(pairs))])
    whole, rows = accuracy(looks)
    assert (whole.right, whole.n) == (6, 12)
    assert [
        (row.variable, row.value, row.right, row.n) for row in rows if row.variable == "kind"
    ] == [
        ("kind", "'bad'", 0, 4),
        ("kind", "'half'", 2, 4),
    ]
    assert not any(row.variable == "many" for row in rows)


def test_the_estimate_adds_up_and_comes_near_what_a_search_takes(binder):
    made = preview(binder, binding)
    found = made.estimate
    assert found.flops == pytest.approx(sum(found.stages.values()))
    assert found.flops_low < found.flops < found.flops_high
    assert found.seconds_low == pytest.approx(found.flops_low / found.speed)
    weights = sum(one.numel() * 4 for one in binder.engine.weights().values())
    assert weights + 2**29 < found.memory < 2**31  # such a run was seen to take 1.5 GiB
    # `check` is counted from the same passes that a run's own check makes.
    evidence = gather(binder, binding, Settings(task="x", n=192, force=True))
    assert found.stages["check"] == pytest.approx(evidence.report["cost"]["flops"], rel=0.05)


HOSTILE = "\x1b[31mred\x1b]0;title\x07 [bold]w1[/bold] \u202eevil\u0000 w2"


def test_hostile_text_is_escaped(tiny):
    model = tiny("llama")
    pairs = [
        Pair(
            Prompt(f"{HOSTILE} w{n}"),
            Prompt(f"{HOSTILE} w{n} w3"),
            " w5",
            f" \x1b[2J{n}",
            source_answer=" \u202ew6",
        )
        for n in range(6)
    ]
    claim = pairs_hold(f"name {HOSTILE}", pairs, sense="follows")
    made = preview(model, claim)
    text = str(made)
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "[bold]" in text and "\\x1b[31mred" in text and "\\u202e" in text
    assert visible("\x1b\u202e\n") == "\\x1b\\u202e\\n"
    reader = Reader(html_of(made))
    assert "\x1b" not in "".join(reader.text) and made.claim[:4] in "".join(reader.text)
    with pytest.raises(ValueError) as refused:
        gather(model, claim, Settings(task="x", n=4))
    assert all(c.isprintable() or c == "\n" for c in str(refused.value))


def test_the_command_line(call, tmp_path, binder, likely):  # noqa: F811
    code, out, _ = call("try", "variable_binding", "--n", "4")
    assert code == 0 and "discover would run this" in out and "4 of 4" in out
    code, out, _ = call("try", "variable_binding", "--n", "4", "--json")
    made = json.loads(out)
    assert code == 0 and made["format"] == "circuitfind-preview/1" and not made["refused"]
    assert made == {
        **preview(binder, binding, n=4).as_json(),
        "cost": made["cost"],
        "estimate": made["estimate"],
    }
    pairs = likely.desiderata[0].pairs
    path = tmp_path / "second.csv"
    lines = ["base,source,expected,base_answer,source_answer"]
    lines += [
        f'"{p.base.text}","{p.source.text}",{p.expected},{p.base_answer},{p.source_answer}'
        for p in pairs
    ]
    path.write_text("\n".join(lines))
    code, out, _ = call("try", path)
    assert code == 2 and "discover would refuse this" in out and "among=" in out
    code, _, err = call("discover", path)
    assert code == 2
    table = [line for line in out.splitlines() if line.startswith(("follows ", "desideratum"))]
    counts = table[-1].split()[:7]
    assert " ".join(counts) in " ".join(err.split())
    code, _, err = call("try", "no-such-task")
    assert code == 2 and "no-such-task" in err


def test_a_preview_fits_a_terminal(binder):
    lines = preview_text(preview(binder, binding).as_json()).splitlines()
    assert max(map(len, lines)) <= 80 and len(lines) <= 60
    assert sum("says" in line for line in lines) == 12


def test_preview_is_public_and_shows_itself(binder):
    assert circuitfind.preview is preview
    made = circuitfind.preview(binder, binding, n=4)
    assert repr(made) == str(made) and "follows answer" in repr(made)
    assert "follows answer" in "".join(Reader(html_of(made)).text)


def test_numbers_that_are_none_are_told(binder, monkeypatch):
    forward = type(binder.engine).forward

    def broken(self, *args, **named):
        output, prefix = forward(self, *args, **named)
        return output * math.nan, prefix

    monkeypatch.setattr(type(binder.engine), "forward", broken)
    made = preview(binder, binding, n=4)
    assert made.refused and any("not numbers" in one for one in made.problems)
    json.dumps(made.as_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (54.0, 91.0, "1 to 2 min"),
        (5.0, 5.2, "about 5 s"),
        (3000.0, 9000.0, "1 to 2 h"),
        (0.1, 0.2, "about 1 s"),
    ],
)
def test_durations(low, high, words):
    assert duration(low, high) == words
