"""Tables of other tools, in rows of our own making: what each becomes."""

import json
import re
from pathlib import Path

import pytest

from desiderata import Alternatives, read_pairs
from desiderata.tables.reading import LAYOUTS

DOCUMENT = Path(__file__).parents[2] / "docs" / "pairs.md"


@pytest.fixture
def read(tmp_path):
    """A function that saves content under a name, reads it and gives the claim."""

    def read_saved(name, content, **options):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return read_pairs(path, **options)

    return read_saved


def kept(claim, answer=None):
    """The only desideratum, which must be a clean behaviour that stays."""
    (one,) = claim.desiderata
    assert (one.part, one.sense, one.at) == ("outside", "keeps", ("all",))
    assert one.answer == (answer or Alternatives())
    assert all(pair.expected == pair.base_answer for pair in one.pairs)
    assert any("clean is the base and corrupted the source" in note for note in claim.notes())
    return one


PROMPTS = [
    {
        "clean": f"Box {k} has the key. Open box",
        "corrupt": f"Box {k + 1} has the key. Open box",
        "answers": [f" {k}"],
        "wrong_answers": [f" {k + 1}", f" {k + 2}"],
    }
    for k in range(4)
]


def test_auto_circuits_prompts(read):
    one = kept(read("p.json", {"seq_labels": ["a"], "word_idxs": {}, "prompts": PROMPTS}))
    pair = one.pairs[1]
    assert pair.base.text == "Box 1 has the key. Open box"
    assert pair.source.text == "Box 2 has the key. Open box"
    assert (pair.expected, pair.source_answer, pair.others) == (" 1", None, (" 2", " 3"))
    columns = {name: [row[name] for row in PROMPTS] for name in PROMPTS[0]}
    for name, content in (("q.json", columns), ("q.jsonl", "\n".join(map(json.dumps, PROMPTS)))):
        assert read(name, content).desiderata == read("p.json", {"prompts": PROMPTS}).desiderata


def test_wrong_answers_are_one_set_beside_a_right_set(read):
    row = {**PROMPTS[0], "answers": [" 8", " 9"], "wrong_answers": [" 0", " 1", " 8"]}
    (pair,) = kept(read("p.json", {"prompts": [row]})).pairs
    assert (pair.expected, pair.others) == ((" 8", " 9"), ((" 0", " 1"),))


def test_prompts_without_wrong_answers_ask_for_the_top_answer(read):
    rows = [{k: v for k, v in row.items() if k != "wrong_answers"} for row in PROMPTS]
    kept(read("p.json", {"prompts": rows}), "top")


def test_auto_circuits_named_tokens_become_spans(read):
    claim = read("p.json", {"word_idxs": {"box": 1, "none": 40}, "prompts": PROMPTS})
    assert claim.tokens == (("box", 1), ("none", 40))

    def where(prompt, index):  # tokens are words here
        words = prompt.text.split(" ")
        start = len(" ".join(words[:index])) + bool(index)
        return (start, start + len(words[index])) if index < len(words) else None

    pair = claim.located(where).moved("box").desiderata[0].pairs[3]
    spans = [
        [(span.name, one.text[span.start : span.end]) for span in one.spans]
        for one in (pair.base, pair.source)
    ]
    assert spans == [[("box", "3")], [("box", "4")]]


def test_feature_circuits_lines_with_and_without_spaces(read):
    rows = [
        {
            "clean_prefix": f"The friend{many} of {name}",
            "patch_prefix": f"The friend{one} of {name}",
            "clean_answer": f"{space}{answer}",
            "patch_answer": f"{space}{other}",
            "case": "any",
        }
        for name, space in (("Ada", ""), ("Bob", " "))
        for many, one, answer, other in (("s", "", "eat", "eats"), ("", "s", "eats", "eat"))
    ]
    claim = read("simple_train.json", "\n".join(map(json.dumps, rows)) + "\n")
    one = kept(claim)
    assert [(pair.expected, pair.source_answer) for pair in one.pairs] == [
        (" eat", " eats"),
        (" eats", " eat"),
    ] * 2
    assert one.pairs[0].base.text == "The friends of Ada"
    assert "a space was put before answers that had none (4 time(s))" in claim.remarks


def test_verbs_of_one_subject_are_one_pair(read):
    rows = [
        {"clean_prefix": "c", "patch_prefix": "p", "clean_answer": right, "patch_answer": wrong}
        for right, wrong in ((" is", " are"), (" has", " have"))
    ]
    (pair,) = kept(read("p.jsonl", "\n".join(map(json.dumps, rows)))).pairs
    assert (pair.expected, pair.source_answer) == ((" has", " is"), (" are", " have"))


def test_eap_igs_answers_are_token_ids(read):
    content = (
        ",clean,corrupted,corrupted_hard,correct_idx,incorrect_idx\n"
        '7,"A, then B. A to","A, then B. C to","A, then B. B to",31,32\n'
        '3,"C, then D. C to","C, then D. E to","C, then D. D to",33,"[34, 35]"\n'
    )
    claim = read("ioi.csv", content)
    first, hard = claim.desiderata
    assert (first.name, hard.name) == ("keeps under corrupted", "keeps under corrupted_hard")
    assert {one.part for one in claim.desiderata} == {"outside"}
    pair = first.pairs[1]
    assert (pair.base.text, pair.source.text) == ("C, then D. C to", "C, then D. E to")
    assert (pair.expected.ids, [other.ids for other in pair.others]) == ((33,), [(34,), (35,)])
    assert hard.pairs[1].source.text == "C, then D. D to"


@pytest.mark.parametrize("column, cell", [("label", 7), ("label", "07"), ("year", "1407")])
def test_later_years_are_a_set(read, column, cell):
    row = {"clean": "From 1407 to 14", "corrupted": "From 1401 to 14", column: cell}
    (pair,) = kept(read("p.jsonl", json.dumps(row))).pairs
    assert pair.expected == tuple(f"{year:02}" for year in range(8, 100))
    assert pair.others == (tuple(f"{year:02}" for year in range(8)),)


def test_a_year_without_a_later_one_cannot_be_used(read):
    row = {"clean": "From 1499 to 14", "corrupted": "From 1401 to 14", "label": 99}
    with pytest.raises(ValueError, match="line 1: label must be two digits below 99"):
        read("p.jsonl", json.dumps(row))


def question(colour, choices, key):
    return {
        "prompt": f"The box is {colour}. Which letter is {colour}? Answer:",
        "choices": {"label": choices, "text": ["red", "blue", "green"]},
        "answerKey": key,
    }


def test_mibs_counterfactuals_are_a_desideratum_each(read):
    rows = [
        {
            **question("red", ["A", "B", "C"], 0),
            "symbol_counterfactual": question("blue", ["X", "Y", "Z"], 1),
            "answerPosition_counterfactual": question("green", ["A", "B", "C"], "C"),
            "empty_counterfactual": None,
        }
    ]
    claim = read("mcqa.json", rows)
    symbol, position = claim.desiderata
    assert (symbol.name, position.name) == (
        "keeps under symbol",
        "keeps under answerposition",
    )
    pair = symbol.pairs[0]
    assert pair.base.text.startswith("The box is red")
    assert pair.source.text.startswith("The box is blue")
    assert (pair.expected, pair.source_answer, pair.others) == (" A", " Y", (" B", " C"))
    assert (position.pairs[0].source_answer, position.pairs[0].others) == (" C", (" B",))
    assert symbol.answer == Alternatives() and symbol.at == ("all",)


def test_mibs_names_and_sums(read):
    names = {
        "prompt": "Ada and Bob sat down. Bob spoke to",
        "metadata": {"indirect_object": "Ada", "subject": "Bob"},
        "s2_io_flip_counterfactual": {
            "prompt": "Ada and Bob sat down. Ada spoke to",
            "metadata": {"indirect_object": "Bob", "subject": "Ada"},
        },
    }
    (pair,) = read("ioi.json", [names]).desiderata[0].pairs
    assert (pair.expected, pair.source_answer, pair.others) == (" Ada", " Bob", ())
    sums = {
        "prompt": "3 plus 4 is ",
        "label": 7,
        "operator": "+",
        "random_counterfactual": {"prompt": "5 plus 4 is ", "label": "9"},
    }
    (pair,) = read("sums.json", [sums]).desiderata[0].pairs
    assert (pair.expected, pair.source_answer) == ("7", "9")


@pytest.mark.parametrize(
    "change, says",
    [
        ({"answerKey": 9}, "answerkey must name one of the choices; got 9"),
        ({"choices": {"label": [1]}}, r"choices must be texts; got \[1\]"),
        ({"choices": None}, "no answer: expected a label"),
        ({"symbol_counterfactual": None}, "no counterfactual has a prompt"),
        (
            {"symbol_counterfactual": question("blue", ["X"], 4)},
            "symbol_counterfactual: answerkey must name one of the choices; got 4",
        ),
    ],
)
def test_rows_of_mib_that_cannot_be_used(read, change, says):
    row = {
        **question("red", ["A", "B", "C"], 0),
        "symbol_counterfactual": question("blue", ["X", "Y", "Z"], 1),
    }
    with pytest.raises(ValueError, match=f"line 1: {says}"):
        read("mcqa.jsonl", json.dumps({**row, **change}))


def test_ewoks_contexts(read):
    content = (
        "Domain,Context1,Context2,Target1,Target2\n"
        "social,The box was heavy. Ada,The box was light. Ada,could not lift it.,lifted it.\n"
    )
    one = read("ewok.csv", content).desiderata[0]
    (pair,) = one.pairs
    assert (pair.base.text, pair.expected) == ("The box was heavy. Ada", " could not lift it.")
    assert (pair.source_answer, one.part) == (" lifted it.", "outside")


def test_positions_may_be_others_than_the_layouts_own(read):
    assert read("p.json", {"prompts": PROMPTS}, at=["last"]).at == ("last",)


def test_a_layout_that_is_none_is_told_with_what_was_found(read):
    with pytest.raises(ValueError, match=r"missing column.s. base, .*; found: question, reply"):
        read("p.csv", "question,reply\na,b\n")


def test_every_layout_is_in_the_documents():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert len(LAYOUTS) == 6
    for layout in LAYOUTS:
        for column in layout.columns:
            assert f"`{column}`" in text.lower(), column


@pytest.mark.parametrize(
    "suffix, content",
    re.findall(r"```(csv|jsonl?)\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL),
)
def test_every_example_in_the_documents_is_read(read, suffix, content):
    claim = read(f"example.{suffix}", content, max_bad=0)
    assert all(group.pairs for group in claim.desiderata)
