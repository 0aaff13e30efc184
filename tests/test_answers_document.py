"""The examples of docs/answers.md, run as a reader would, one after another."""

import doctest
import re
import sys
from pathlib import Path

import pytest

from circuitfind.cli import app as cli

DOCUMENT = Path(__file__).parents[1] / "docs" / "answers.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")


def run(text):
    """How many examples fail, and how many there are."""
    examples = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    made = doctest.DocTestParser().get_doctest(examples, {}, DOCUMENT.name, str(DOCUMENT), 0)
    return doctest.DocTestRunner(verbose=False).run(made)


def test_every_example_of_the_document_gives_what_it_says():
    done = run(TEXT)
    assert done.attempted > 20
    assert done.failed == 0


def test_an_example_that_gives_something_else_fails(capsys):
    assert run("```python\n>>> 1 + 1\n3\n\n```").failed == 1
    assert "Expected" in capsys.readouterr().out


@pytest.mark.parametrize("command", re.findall(r"^circuitfind (\w+ .*)$", TEXT, re.MULTILINE))
def test_every_command_of_the_document_runs(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["circuitfind", *command.split()])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0, capsys.readouterr().err


def test_every_section_about_scoring_has_an_example():
    sections = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:-1]
    assert len(sections) == 6
    assert [name.split("\n")[0] for name in sections if ">>>" not in name] == []
