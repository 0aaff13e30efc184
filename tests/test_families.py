"""The table of model families says what the doctor says today."""

import re

import pytest
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from scripts.model_families import OUT, VERDICTS, Row, row, table

SAMPLE = [
    *("llama", "gemma4_text", "gpt_oss", "deepseek_v3", "bitnet", "diffllama", "falcon_h1"),
    *("qwen3_next", "lfm2", "nemotron_h", "mamba", "bert", "openai-gpt", "doge", "t5", "bart"),
    *("recurrent_gemma", "roberta-prelayernorm"),
]


def rows() -> dict[str, Row]:
    found = re.findall(r"^\| (\S+) \| ([\w ]+) \| (.*) \|$", OUT.read_text(), re.MULTILINE)
    made = [Row(family=family, verdict=verdict, says=says) for family, verdict, says in found]
    return {one.family: one for one in made if one.verdict in VERDICTS}


@pytest.mark.parametrize("family", SAMPLE)
def test_a_row_is_what_the_doctor_says(family):
    if family not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        assert family not in rows()
        return
    numbers = re.compile(r"\d+(\.\d+)?(e[+-]\d+)?")
    made, written = row(family), rows()[family]
    assert made.verdict == written.verdict
    assert numbers.sub("#", made.says) == numbers.sub("#", written.says).strip()


def test_the_table_has_every_family_of_these_transformers():
    assert rows().keys() == MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.keys()


def test_a_table_counts_its_rows():
    given = {"a": ("hooks", ""), "b": ("refused", "so")}
    made = table([Row(family=a, verdict=b, says=c) for a, (b, c) in given.items()])
    assert "1 run on hooks, 0 run in the bridge, 1 are refused in words, 0 could not be" in made
    assert made.endswith("| a | hooks |  |\n| b | refused | so |\n")
