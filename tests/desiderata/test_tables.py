"""Pairs from files: what is read is what was written, and every fault is told at once."""

import csv
import gzip
import json
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from desiderata import read_pairs

from .language_cases import quick

COLUMNS = ("base", "source", "expected", "base_answer", "source_answer", "desideratum", "part")
HEADER = ",".join(COLUMNS)
ROW = {"base": "b", "source": "s", "expected": "new", "base_answer": "old"}

characters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])  # NUL is refused
written = st.text(characters, max_size=12).map(lambda text: text if text.strip() else f"{text}.")
tricky = st.sampled_from(['a, "b"', "two\nlines", "\r\n, x", " 🦜 ", '"', "x\x85y", "x\u2028y"])
rows = st.fixed_dictionaries(
    dict.fromkeys(COLUMNS[:4], written | tricky)
    | {
        "source_answer": st.just("") | written,
        "desideratum": st.sampled_from(["", "one, or", "two"]),
        "part": st.sampled_from(["", "inside", "outside"]),
    }
)


def write_csv(path, made):
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(made)
    return path


def write_json_lines(path, made):
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in made]
    path.write_text("".join(lines), encoding="utf-8", newline="")
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pairs")


@pytest.fixture
def saved(tmp_path):
    """A function that saves bytes or text under a name and gives the path."""

    def save(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return save


def unlike(row):
    """What tells a pair: rows alike in it are one pair, whose answers are sets."""
    sense = "keeps" if row["expected"] == row["base_answer"] else "follows"
    return (row["base"], row["source"], row["desideratum"], row["part"] or "inside", sense)


different = st.lists(rows, min_size=1, max_size=6, unique_by=unlike)


def check_rows(claim, made):
    def sense(row):
        return "keeps" if row["expected"] == row["base_answer"] else "follows"

    wanted = Counter(
        (
            row["base"],
            row["source"],
            row["expected"],
            row["base_answer"],
            row["source_answer"] or None,
            row["part"] or "inside",
            sense(row),
        )
        for row in made
    )
    assert wanted == Counter(
        (
            pair.base.text,
            pair.source.text,
            pair.expected,
            pair.base_answer,
            pair.source_answer,
            group.part,
            group.sense,
        )
        for group in claim.desiderata
        for pair in group.pairs
    )
    names = [group.name for group in claim.desiderata]
    assert len(set(names)) == len(names)
    starts = {row["desideratum"] or sense(row) for row in made}
    assert all(name.startswith(tuple(starts)) for name in names)


@quick
@given(different)
def test_rows_in_a_csv_come_back_as_they_were(folder, made):
    check_rows(read_pairs(write_csv(folder / "pairs.csv", made)), made)
    packed = folder / "pairs.CSV.gz"
    packed.write_bytes(gzip.compress((folder / "pairs.csv").read_bytes()))
    assert read_pairs(packed) == read_pairs(folder / "pairs.csv")


@quick
@given(different)
@example([dict.fromkeys(COLUMNS[:4], "one\u2028two\x85three") | dict.fromkeys(COLUMNS[4:], "")])
def test_rows_in_json_lines_come_back_as_they_were(folder, made):
    claim = read_pairs(write_json_lines(folder / "pairs.jsonl", made))
    check_rows(claim, made)
    columns = {name: [row[name] for row in made] for name in COLUMNS}
    for content in (made, {"data": made}, columns):
        (folder / "pairs.json").write_text(json.dumps(content), encoding="utf-8")
        assert read_pairs(folder / "pairs.json").desiderata == claim.desiderata


@quick
@given(
    st.sampled_from(["csv", "jsonl", "json", "tsv", "csv.gz"]),
    st.binary(max_size=60)
    | st.lists(
        st.sampled_from(
            [
                HEADER.encode(),
                json.dumps(ROW).encode(),
                b"b,s,new,old\n",
                b"\n",
                b"\r",
                b",",
                b'"',
                b"{",
                b"}",
                b"\0",
                b"\xff",
                b"\xef\xbb\xbf",
                b"[1]",
                b"[",
                b"sep=;\n",
                b"\x1f\x8b",
                b"\xff\xfe",
                b"null",
                b"NaN",
            ]
        )
        | st.binary(max_size=4),
        max_size=8,
    ).map(b"".join),
)
def test_random_bytes_give_nothing_but_a_value_error(folder, suffix, content):
    path = folder / f"random.{suffix}"
    path.write_bytes(content)
    try:
        claim = read_pairs(path)
    except ValueError as error:
        assert str(path) in str(error)
    else:
        assert all(group.pairs for group in claim.desiderata)


@pytest.mark.parametrize(
    "name, content",
    [
        ("p.jsonl", "[" * 100_000),
        ("p.jsonl", '{"a":' * 100_000),
        ("p.jsonl", "9" * 5000),
        ("p.csv", f"{HEADER}\n{'x' * 200_000}"),
    ],
    ids=["deep list", "deep object", "long number", "long cell"],
)
def test_content_beyond_the_parsers_limits_is_told_as_a_fault_of_its_line(saved, name, content):
    path = saved(name, content)
    with pytest.raises(ValueError) as caught:
        read_pairs(path)
    assert str(caught.value).startswith(f"{path}: line {2 if name == 'p.csv' else 1}: ")


def test_what_a_file_says(saved):
    lines = [
        "base,source,expected,base_answer,desideratum,part,remark",
        '"a, b",c,1,2,moves,,first',
        "d,e,2,2,stays,outside,",
        "f,g,3,4,moves,inside,",
    ]
    claim = read_pairs(saved("others.csv", "\n".join(lines)), at=["x", "last"], at_least=0.8)
    assert (claim.name, claim.at) == ("others", ("x", "last"))
    moves, stays = claim.desiderata
    assert (moves.name, moves.part, moves.sense) == ("moves", "inside", "follows")
    assert (stays.name, stays.part, stays.sense) == ("stays", "outside", "keeps")
    assert [pair.base.text for pair in moves.pairs] == ["a, b", "f"]
    assert {group.at_least for group in claim.desiderata} == {0.8}
    assert all(pair.source_answer is None for pair in moves.pairs)


def test_rows_without_a_name_are_named_by_their_sense(saved):
    lines = [json.dumps(ROW), "", json.dumps({**ROW, "expected": "old", "part": None})]
    claim = read_pairs(saved("p.ndjson", "\n".join(lines)))
    assert [(group.name, group.sense) for group in claim.desiderata] == [
        ("follows", "follows"),
        ("keeps", "keeps"),
    ]


def test_mixed_senses_and_parts_under_one_name_become_several_desiderata(saved):
    made = [
        {**ROW, "desideratum": "d", "expected": expected, "part": part}
        for expected, part in (("new", "inside"), ("old", "inside"), ("old", "outside"))
    ]
    claim = read_pairs(saved("p.jsonl", "\n".join(map(json.dumps, made))))
    assert [group.name for group in claim.desiderata] == [
        "d (inside follows)",
        "d (inside keeps)",
        "d (outside keeps)",
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_column(saved):
    claim = read_pairs(saved("p.csv", f"\ufeff{HEADER}\nb,s,new,old,,,\n"))
    assert claim.desiderata[0].pairs[0].base.text == "b"


CSV = "base,source,expected,base_answer,part\n"


@pytest.mark.parametrize(
    "name, content, says",
    [
        (
            "p.csv",
            "base,expected\nb,new\n",
            r"missing column\(s\) source, base_answer; found: base, expected\. docs",
        ),
        ("p.csv", "", "no pairs: the file needs a header"),
        ("p.csv", CSV, "no pairs: the file needs a header and at least one row"),
        ("p.jsonl", "", "no pairs"),
        ("p.jsonl", " \n\n", "no pairs"),
        ("p.csv", CSV + "b,,new,old,\n", "line 2: source must be text and not empty; got ''$"),
        ("p.csv", CSV + "b, ,new,old,\n", "line 2: source must be text and not empty; got ' '$"),
        ("p.csv", CSV + "b,s,new\n", "line 2: base_answer must be text .* got None$"),
        (
            "p.csv",
            CSV + "b,s,new,old,inside,x,y\n",
            r"line 2: 2 cell\(s\) more than the header has; quote text with commas$",
        ),
        (
            "p.csv",
            CSV + "b,s,new,old,within\n",
            "line 2: part must be one of inside, outside; got 'within'$",
        ),
        ("p.csv", CSV + 'b,"s"x,new,old,\n', "line 2: "),
        ("p.csv", CSV + 'b,"s,new,old,\n', "unexpected end of data"),
        ("p.jsonl", json.dumps(ROW) + "\n{base: 1}\n", r"line 2: not JSON \(.* at column 2\)$"),
        ("p.jsonl", '["b", "s"]', "line 1: expected an object, got str$"),
        ("p.jsonl", '["b"]\n["s"]', "line 1: expected an object, got list; line 2: "),
        (
            "p.jsonl",
            json.dumps({**ROW, "expected": 3}),
            "line 1: expected must be text and not empty; got 3; write a number as text",
        ),
        (
            "p.jsonl",
            json.dumps({**ROW, "source_answer": 3}),
            "line 1: source_answer must be text and not empty; got 3; write a number",
        ),
        ("p.jsonl", json.dumps({"base": "b"}), "source must be .*expected must .*base_answer must"),
        ("p.txt", CSV, "read from .csv, .tsv, .json, .jsonl, .ndjson files, .*; got '.txt'$"),
        ("p", CSV, "got ''$"),
        ("p.xlsx", b"PK\3\4\xff\xfe", "got '.xlsx'$"),
        (
            "p.csv",
            CSV.encode() + b"b,s,n\xe9w,o\x81ld,\n",
            "expected UTF-8 text; byte 0xe9 on line 2 is not, and byte 0x81 on line 2 is not "
            "Windows-1252 either. Save the file as UTF-8$",
        ),
        ("p.csv", b"\xff\xfeb\0,", "expected UTF-16-LE text; byte 2 of it is not"),
        ("p.csv", b"base,source\nb\0,s\n", "line 2: a byte of value 0; this is no text"),
        ("p.csv.gz", b"base,source", "expected a whole gzip file"),
        ("p.json", '{"base": "b", "source"}', r"line 1: not JSON \(.*delimiter at column 23\)$"),
        ("p.json", '[{"base": "b"},\n {"base": }]', r"line 2: not JSON \(Expecting value at col"),
        ("p.json", '{"base": ["a", "b"], "source": ["c"]}', "different lengths: base has 2, sou"),
    ],
)
def test_files_that_cannot_be_read(saved, name, content, says):
    path = saved(name, content)
    with pytest.raises(ValueError, match=says) as caught:
        read_pairs(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_every_problem_of_a_file_is_in_one_message(saved):
    rows = ["b,,new,old,", 'b,"two\nlines",new,old,', "b,s,new,old,in,x", ",s,,old,"]
    with pytest.raises(ValueError) as caught:
        read_pairs(saved("p.csv", CSV + "\n".join(rows)))
    assert str(caught.value).partition(": ")[2] == (
        "line 2: source must be text and not empty; got ''; "
        "line 5: 1 cell(s) more than the header has; quote text with commas; "
        "line 5: part must be one of inside, outside; got 'in'; "
        "line 6: base must be text and not empty; got ''; "
        "line 6: expected must be text and not empty; got ''"
    )


def test_problems_beyond_ten_are_counted(saved):
    with pytest.raises(ValueError, match=r"line 10: not JSON \([^;]*\); and 4 more$"):
        read_pairs(saved("p.jsonl", "no\n" * 14))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_pairs(tmp_path / "none.csv")


def test_degrees_that_cannot_be(saved):
    with pytest.raises(ValueError, match=r"follows: at_least must lie in \(0, 1\]; got 2"):
        read_pairs(saved("p.jsonl", json.dumps(ROW)), at_least=2)
