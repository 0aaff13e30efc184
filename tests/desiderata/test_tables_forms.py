"""Tables as people save them: separators, encodings, headers, cells, repeated and unusable rows."""

import copy
import gzip
import json
import pickle

import pytest

from desiderata import Alternatives, TokenIds, is_table, lint, read_pairs

HEADER = "base,source,expected,base_answer\n"
ROWS = [(f"base {k}, café", f"source {k}", f" new {k}", " old") for k in range(6)]
PLAIN = {"base": "b", "source": "s", "expected": "new", "base_answer": "old"}


@pytest.fixture
def saved(tmp_path):
    """A function that saves bytes, text or JSON under a name and gives the path."""

    def save(name, content):
        path = tmp_path / name
        if not isinstance(content, bytes | str):
            content = json.dumps(content)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return save


def read_rows(path):
    """Each pair's texts, and the notes but for the one on the split."""
    claim = read_pairs(path)
    found = [
        (pair.base.text, pair.source.text, pair.expected, pair.base_answer)
        for group in claim.desiderata
        for pair in group.pairs
    ]
    return found, claim.remarks


def separated(by, header="base,source,expected,base_answer"):
    quoted = [[f'"{cell}"' if by in cell else cell for cell in row] for row in ROWS]
    return "\r\n".join([header.replace(",", by), *map(by.join, quoted)]) + "\r\n"


@pytest.mark.parametrize(
    "name, content, notes",
    [
        ("p.csv", separated(","), []),
        ("P.CSV", "\ufeff" + separated(","), []),
        ("p.csv", separated(";"), ["columns separated by semicolons"]),
        ("p.csv", "sep=;\r\n" + separated(";"), ["columns separated by semicolons"]),
        ("p.csv", '"sep=|"\n' + separated("|"), ["columns separated by bars"]),
        ("p.csv", separated("\t"), ["columns separated by tabs"]),
        ("p.tsv", separated("\t"), []),
        ("p.tsv", separated(","), ["columns separated by commas"]),
        ("p.csv", separated(",").encode("utf-16"), []),
        ("p.csv", separated(",").encode("utf-16-le"), ["read as UTF-16-LE"]),
        ("p.csv", separated(",").encode("utf-16-be"), ["read as UTF-16-BE"]),
        ("p.csv", separated(",").encode("utf-32"), []),
        ("p.csv", separated(",").encode("cp1252"), ["Windows-1252, since byte 0xe9 on line 2"]),
        ("p.csv", separated(",", " Base,source ,EXPECTED,Base Answer"), []),
        ("p.csv", "\n" + separated(",") + ",,,\r\n , ,,\r\n\r\n", []),
        ("p.csv", separated(",").replace("\r\n", ",,\r\n"), []),
        ("p.csv.gz", gzip.compress(separated(",").encode()), []),
        ("p.csv", gzip.compress(separated(",").encode()), []),
        ("p.Json", [dict(zip(PLAIN, row, strict=True)) for row in ROWS], []),
        ("p.jsonl", [dict(zip(PLAIN, row, strict=True)) for row in ROWS], []),
        (
            "p.json",
            "\n".join(json.dumps(dict(zip(PLAIN, row, strict=True))) for row in ROWS),
            [],
        ),
        ("p.json", {"rows": [{"row": dict(zip(PLAIN, row, strict=True))} for row in ROWS]}, []),
        (
            "p.json",  # as pandas writes it
            {
                name: {str(at): row[column] for at, row in enumerate(ROWS)}
                for column, name in enumerate(PLAIN)
            },
            [],
        ),
    ],
)
def test_the_same_rows_from_every_form(saved, name, content, notes):
    found, told = read_rows(saved(name, content))
    assert found == ROWS
    assert len(told) == len(notes)
    for said, wanted in zip(told, notes, strict=True):
        assert wanted in said


@pytest.mark.parametrize("name", ["p.csv", "P.TSV", "p.json", "p.JSONL", "p.ndjson.gz", "p.CSV.GZ"])
def test_names_of_tables(name):
    assert is_table(name)
    assert not is_table(name + ".py")


def test_a_packed_file_is_called_without_its_endings(saved):
    assert read_pairs(saved("my.pairs.csv.gz", gzip.compress(separated(",").encode()))).name == (
        "my.pairs"
    )


def test_a_file_that_unpacks_to_more_than_fits_is_refused(saved, monkeypatch):
    monkeypatch.setattr("desiderata.tables.encodings.MOST", 10)
    with pytest.raises(ValueError, match="more than 10 bytes when unpacked"):
        read_pairs(saved("p.csv.gz", gzip.compress(separated(",").encode())))


def test_a_row_of_a_json_list_is_named_by_its_line(saved):
    content = json.dumps([PLAIN, {**PLAIN, "source": ""}, "no"], indent=1)
    with pytest.raises(ValueError) as caught:
        read_pairs(saved("p.json", content))
    assert "line 8: source must be text and not empty; got ''; line 14: expected an object" in str(
        caught.value
    )


@pytest.mark.parametrize(
    "row, says",
    [
        ({"expected": float("nan")}, "expected must be text and not empty; got nan"),
        ({"expected": True}, "expected must be text and not empty; got True"),
        ({"expected": [" a", ""]}, "expected must be text and not empty"),
        ({"expected": [[" a", " b"]]}, "expected must be text and not empty"),
        ({"expected": []}, r"expected must be text and not empty; got \[\]"),
        ({"others": [" a", 3]}, "others must be answers, none empty"),
        ({"base": 7}, "base must be text and not empty; got 7"),
        ({"base": "\ud800"}, "base must be text and not empty"),
        ({"base": []}, "base must be text, a list of token ids, or a list of turns"),
        ({"base": [1, -1]}, "base must be text, a list of token ids, or a list of turns"),
        ({"base": [1, 2]}, "base and source must both be text, or both token ids"),
        ({"base": [{"role": "user"}]}, "a list of turns with role and content"),
        ({"Base": "other"}, "base is there twice"),
        ({"spans": "x"}, "spans must be an object of spans; got 'x'"),
        ({"spans": {"x": {"text": "z"}}}, r"spans: span 'x' needs 'z' 1 time\(s\) in the prompt"),
        ({"spans": {"x": {"text": "b", "occurrence": 0}}}, "occurrence from 1"),
        ({"spans": {"x": {"word": 1}}}, "'x' is word 1 of a prompt of 1 words"),
        ({"spans": {"x": {"start": 0, "end": 9}}}, "'x' is characters 0 to 9 of a prompt of 1"),
        ({"spans": {"x": {}}}, 'needs "text", "word", or "start" and "end"'),
        ({"spans": {"x": 3}}, "must be a text or an object; got 3"),
        ({"spans": {"last": {"word": 0}}}, "a span cannot be called 'last'"),
        ({"base:x": "z"}, "base:x: span 'x' needs 'z'"),
    ],
)
def test_cells_that_cannot_be_read(saved, row, says):
    with pytest.raises(ValueError, match=f"line 1: .*{says}"):
        read_pairs(saved("p.jsonl", json.dumps({**PLAIN, **row})))


def test_answers_may_be_lists(saved):
    row = {**PLAIN, "expected": [" were", " are"], "others": [" is", [" am", " be"]]}
    (pair,) = read_pairs(saved("p.jsonl", json.dumps(row))).desiderata[0].pairs
    assert (pair.expected, pair.others) == ((" are", " were"), (" is", (" am", " be")))
    header = "base,source,expected,base_answer,wrong_answers\n"
    content = header + 'b,s,"["" were"", "" are""]",[old],"["" is"", ["" am"", "" be""]]"\n'
    (same,) = read_pairs(saved("p.csv", content)).desiderata[0].pairs
    assert (same.expected, same.others) == (pair.expected, pair.others)
    assert same.base_answer == "[old]"  # no JSON, so it is text


def test_wrong_answers_are_compared_and_without_them_the_top_answer_counts(saved):
    assert read_pairs(saved("p.jsonl", json.dumps(PLAIN))).desiderata[0].answer == "top"
    path = saved("p.jsonl", json.dumps({**PLAIN, "others": "third"}))
    assert read_pairs(path).desiderata[0].answer == Alternatives()
    among = read_pairs(path, among=["old", "new"]).desiderata[0].answer
    assert among == Alternatives((("old",), ("new",)))
    with pytest.raises(ValueError, match="by `among` or by `answer`"):
        read_pairs(path, among="named", answer=Alternatives(first=True))


def test_prompts_as_token_ids(saved):
    row = {
        "base": [5, 6, 5],
        "source": [7, 6, 7],
        "expected": 8,
        "base_answer": [[6, 1], 9],
        "others": [3, [4, 2]],
        "spans": {"second": {"word": 1}},
    }
    claim = read_pairs(saved("p.jsonl", json.dumps(row)))
    (pair,) = claim.desiderata[0].pairs
    assert (pair.base.ids, pair.base.text) == ((5, 6, 5), "5 6 5")
    assert (pair.base.span("second").start, pair.base.span("second").end) == (2, 3)
    assert pair.expected.ids == (8,)
    assert sorted(text.ids for text in pair.base_answer) == [(6, 1), (9,)]
    assert pair.others[0].ids == (3,)
    assert [text.ids for text in pair.others[1]] == [(2,), (4,)]
    assert "prompts are token ids (2 time(s))" in claim.remarks
    cells = ["[5, 6, 5]", "[7, 6, 7]", "8", "[[6, 1], 9]"]
    content = HEADER.replace(",", ";") + ";".join(cells) + "\n"
    (same,) = read_pairs(saved("p.csv", content)).desiderata[0].pairs
    assert (same.base.ids, same.expected, same.base_answer) == (
        pair.base.ids,
        pair.expected,
        pair.base_answer,
    )


def test_token_ids_are_text_that_can_be_copied():
    ids = TokenIds([4, 5])
    for made in (copy.deepcopy(ids), pickle.loads(pickle.dumps(ids))):
        assert (made, made.ids) == (ids, (4, 5))
    assert TokenIds([4]) == "token 4" and TokenIds([4]) != TokenIds([5])


def test_an_answer_as_ids_beside_a_prompt_as_text(saved):
    row = {**PLAIN, "expected": {"ids": [4, 5]}}
    (pair,) = read_pairs(saved("p.jsonl", json.dumps(row))).desiderata[0].pairs
    assert pair.expected.ids == (4, 5)


def test_prompts_as_turns_of_a_chat(saved):
    def turns(word):
        return [{"role": "user", "content": f"Say {word}"}, {"role": "assistant", "content": "Ok:"}]

    row = {**PLAIN, "base": turns("a"), "source": turns("b"), "base:said": "a", "source:said": "b"}
    claim = read_pairs(saved("p.jsonl", json.dumps(row)))
    (pair,) = claim.desiderata[0].pairs
    assert pair.base.turns == (("user", "Say a"), ("assistant", "Ok:"))
    assert pair.base.text == "user: Say a\nassistant: Ok:"
    assert any("turns of a chat" in remark for remark in claim.remarks)
    cells = [json.dumps(turns(word)).replace('"', '""') for word in "ab"]
    content = HEADER + f'"{cells[0]}","{cells[1]}",new,old\n'
    (same,) = read_pairs(saved("p.csv", content)).desiderata[0].pairs
    assert same.base.turns == pair.base.turns


@pytest.mark.parametrize(
    "where, place",
    [
        ({"text": "a cat"}, (0, 5)),
        ("cat", (2, 5)),
        ({"text": "a", "occurrence": 3}, (9, 10)),
        ({"word": 1}, (2, 5)),
        ({"word": -1}, (11, 14)),
        ({"start": 6, "end": 8}, (6, 8)),
    ],
)
def test_spans(saved, where, place):
    text = "a cat is a hat"
    row = {**PLAIN, "base": text, "source": text.replace("cat", "bat")}
    both = {**row, "base_spans": {"x": where}, "source_spans": {"x": {"word": 1}}}
    claim = read_pairs(saved("p.jsonl", json.dumps(both)), at="x")
    span = claim.desiderata[0].pairs[0].base.span("x")
    assert (span.start, span.end) == place
    assert claim.at == ("x",)
    own = {**row, "spans": {"x": {"word": 0}, "y": {"word": 2}}, "base_spans": {"x": where}}
    base = read_pairs(saved("p.jsonl", json.dumps(own))).desiderata[0].pairs[0].base
    assert (base.span("x").start, base.span("y").start) == (place[0], 6)


def test_spans_in_a_csv(saved):
    content = (
        "base,source,expected,base_answer,spans,base:City ,source:City\n"
        '"Paris, Rome",Rome and Oslo,n,o,"{""first"": {""word"": 0}}",Rome,Oslo\n'
    )
    (pair,) = read_pairs(saved("p.csv", content)).desiderata[0].pairs
    assert [(span.name, span.start) for span in pair.base.spans] == [("first", 0), ("City", 7)]
    assert [(span.name, span.start) for span in pair.source.spans] == [("first", 0), ("City", 9)]


def test_the_first_of_several_places_is_taken_and_told(saved):
    row = {**PLAIN, "base": "a b a", "source": "a b", "base:x": "a"}
    claim = read_pairs(saved("p.jsonl", json.dumps(row)))
    assert claim.desiderata[0].pairs[0].base.span("x").start == 0
    assert any("'x' comes more than once" in remark for remark in claim.remarks)
    row["base_spans"] = {"x": {"text": "a", "occurrence": 2}}
    del row["base:x"]
    claim = read_pairs(saved("p.jsonl", json.dumps(row)))
    assert claim.desiderata[0].pairs[0].base.span("x").start == 4
    assert not claim.remarks


def lines_of(*rows):
    return "".join(json.dumps({**PLAIN, **row}) + "\n" for row in rows)


def test_rows_of_one_pair_become_sets(saved):
    """Three verbs a subject, in a row each."""
    verbs = ((" are", " is"), (" have", " has"), (" were", " was"))
    rows = [
        {"base": f"b{k}", "source": f"s{k}", "expected": many, "base_answer": one}
        for k in range(8)
        for many, one in verbs
    ]
    path = saved("p.jsonl", lines_of(*[{**row, "source_answer": row["expected"]} for row in rows]))
    claim = read_pairs(path)
    (follows,) = claim.desiderata
    assert len(follows.pairs) == 8
    for pair in follows.pairs:
        assert pair.expected == pair.source_answer == (" are", " have", " were")
        assert pair.base_answer == (" has", " is", " was")
    assert claim.remarks[0].startswith("16 row(s) have the prompts of another and other answers")
    assert not [problem for problem in lint(claim, 8) if problem.level == "error"]


def test_what_is_right_in_one_row_is_not_wrong_in_the_pair(saved):
    rows = ({"expected": "x", "others": ["y", "z"]}, {"expected": "y", "others": ["x", ["z", "w"]]})
    (pair,) = read_pairs(saved("p.jsonl", lines_of(*rows))).desiderata[0].pairs
    assert (pair.expected, pair.others) == (("x", "y"), ("z", ("w", "z")))


def test_equal_rows_count_once(saved):
    claim = read_pairs(saved("p.jsonl", lines_of({}, {"expected": "x"}, {})))
    assert [pair.expected for pair in claim.desiderata[0].pairs] == [("new", "x")]
    assert any("1 row(s) are there before" in remark for remark in claim.remarks)


@pytest.mark.parametrize("differs", [{"part": "outside"}, {"desideratum": "d"}, {"base": "c"}])
def test_rows_about_something_else_stay_apart(saved, differs):
    claim = read_pairs(saved("p.jsonl", lines_of({}, {"expected": "x", **differs})))
    assert [pair.expected for one in claim.desiderata for pair in one.pairs] == ["new", "x"]


def test_rows_that_turn_each_other_around_contradict_each_other(saved):
    turned = {"expected": "old", "base_answer": "new"}
    claim = read_pairs(saved("p.jsonl", lines_of({}, turned)))
    assert len(claim.desiderata[0].pairs) == 2
    assert any("contradiction" in problem.says for problem in lint(claim, 8))


def test_few_unusable_rows_are_left_out_and_counted(saved):
    rows = [{"base": f"b{k}", "source": f"s{k}"} for k in range(18)]
    rows[6]["source"] = rows[11]["source"] = ""
    content = lines_of(*rows) + "no JSON\n"
    claim = read_pairs(saved("p.jsonl", content))
    assert len(claim.desiderata[0].pairs) == 16
    assert claim.remarks == (
        "left out 3 of 19 rows: 2 source must be text and not empty, such as line 7; "
        "1 not JSON (Expecting value at column 1), such as line 19",
    )
    for share in (0, 0.1):
        with pytest.raises(ValueError, match=r"line 7: source .*; line 12: .*; line 19: not JSON"):
            read_pairs(saved("p.jsonl", content), max_bad=share)
    with pytest.raises(ValueError, match=r"3 of 19 rows cannot be used; .* 0.1 would be left out"):
        read_pairs(saved("p.jsonl", content), max_bad=0.1)


@pytest.mark.parametrize("share", [-0.1, 1, float("nan")])
def test_a_share_that_is_none(saved, share):
    with pytest.raises(ValueError, match="max_bad is a share of rows"):
        read_pairs(saved("p.jsonl", lines_of({})), max_bad=share)


def test_a_header_that_would_write_to_the_terminal_is_quoted(saved):
    with pytest.raises(ValueError, match=r"found: base, '\\x1b\[2j'"):
        read_pairs(saved("p.csv", "base,\x1b[2J\nb,x\n"))
