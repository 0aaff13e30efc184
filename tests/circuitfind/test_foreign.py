"""Circuits of other tools: each format by a sample, laws, and refusals of whatever else comes."""

import hashlib
import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from circuitfind.circuits.circuit import Circuit, load_circuit
from circuitfind.circuits.foreign import circuit_of, read_foreign, write_foreign_mib
from circuitfind.mediators.head import head
from circuitfind.mediators.site import Site
from circuitfind.mediators.space import all_sites
from circuitfind.mediators.whole import EMBED, mlp
from tests.planted import planted_model

SAMPLES = Path(__file__).parent / "foreign"
L, H = 2, 3  # of the model that the samples are about
THREE = {"a0.h1@last", "m0@last", "a1.h2@last"}


def read(given_, **options):
    sites, scores, words = read_foreign(given_, **{"n_layers": L, "n_heads": H, **options})
    return dict(zip(map(str, sites), scores, strict=True)), words


def as_json(what):
    return json.dumps(what)


def test_names_are_read_from_text_and_from_json_and_positions_filled_in():
    assert list(read(SAMPLES / "names.txt")[0]) == ["a0.h1@last", "m0@last", "a1.h2@query"]
    found, words = read("a0.h1 m0\n,a1.h2", position="all")
    assert list(found.items()) == [("a0.h1@all", 0.0), ("m0@all", 0.0), ("a1.h2@all", 0.0)]
    assert words == "read as a list of 3 sites, without scores"
    assert read('["a0.h1", "m0@query"]')[0] == {"a0.h1@last": 0.0, "m0@query": 0.0}
    assert read(str(SAMPLES / "names.txt")) == read(SAMPLES / "names.txt")


def test_pairs_are_heads_and_groups_are_put_together():
    assert list(read(SAMPLES / "pairs.json")[0]) == ["a0.h1@last", "a1.h2@last", "a1.h0@last"]
    found, words = read(SAMPLES / "groups.json")
    assert list(found) == ["a1.h2@last", "a1.h0@last", "a0.h1@last", "a0.h0@last"]
    assert "3 groups" in words
    assert "1 mentions of a site in a further one" in words


def test_the_result_files_of_dcm_are_heads_without_a_position():
    found, words = read(SAMPLES / "dcm.txt", position="query")
    assert found == {"a0.h1@query": 0.0, "a1.h2@query": 0.0}
    assert words == (
        "read as a result of DCM (Prakash et al. 2024): 2 heads, without scores; left out: its "
        "test accuracy of 0.75"
    )
    assert read("Heads: [[0, 1]]")[0] == {"a0.h1@last": 0.0}
    assert "left out" not in read("Heads: [[0, 1]]")[1]


@pytest.mark.parametrize(
    "text, says",
    [
        ("Heads: []\nTest Accuracy: 0.1\n", "no head or MLP is in it"),
        ("Heads: [[0, 1]\nTest Accuracy: 0.1\n", "Heads: not what DCM writes there"),
        ("Heads: [[0, 1]]\nTest Accuracy: high\n", "Test Accuracy: not what DCM writes there"),
        ("Heads: [[0, 9], [0]]", "a0.h9@last: the model has 2 layers of 3 heads; expected a site"),
        ("Heads: [[0, 1], [0, 1]]", "listed twice: a0.h1@last"),
        ("Heads: 3", "Heads: not what DCM writes there .expected a list"),
        ("Heads: [[0, 1]]\nNotes: none", "expected a site such as"),
    ],
)
def test_result_files_of_dcm_that_are_none(text, says):
    with pytest.raises(ValueError, match=says):
        read(text)
    with pytest.raises(ValueError, match="top is for files of scores"):
        read(SAMPLES / "dcm.txt", top=1)


def test_a_graph_gives_the_nodes_that_are_marked():
    found, words = read(SAMPLES / "eap_ig.json")
    assert found == {"a0.h1@last": -0.8, "m0@last": 0.0, "a1.h2@last": 0.5}
    assert "left out: the input, the logits, 5 edges; 3 of 8 heads and MLPs" in words
    older, _ = read(SAMPLES / "eap_ig_2024.json")
    assert set(older) == THREE


def test_a_graph_without_marked_nodes_gives_the_ends_of_marked_edges():
    made = json.loads((SAMPLES / "eap_ig.json").read_text())
    del made["nodes"]
    found, words = read(as_json(made))
    assert found == {"a0.h1@last": 0.4, "m0@last": -0.2, "a1.h2@last": 0.6}
    assert "no node is marked" in words
    neurons = {"nodes": {"m0": {"in_graph": True, "neurons": [True, False]}}, "edges": {}}
    assert "which neurons" in read(as_json(neurons))[1]


def test_scores_of_a_graph_are_ranked_by_size_and_edges_count_where_they_leave():
    found, words = read(SAMPLES / "mib_importances.json", top=3)
    assert list(found.items()) == [("a0.h1@last", -0.7), ("a1.h2@last", 0.6), ("a0.h0@last", 0.3)]
    assert "each node's strongest edge out" in words
    made = json.loads((SAMPLES / "eap_ig.json").read_text())
    made["nodes"]["m0"]["score"] = 0.02
    assert list(read(as_json(made), top=2)[0].items()) == [
        ("a0.h1@last", -0.8),
        ("a1.h2@last", 0.5),
    ]
    with pytest.raises(ValueError, match="1 nodes have no score to rank them by"):
        read(SAMPLES / "eap_ig.json", top=2)  # EAP-IG would keep m0, whose score is NaN, beyond 2


def test_auto_circuits_sources_are_counted_from_the_input():
    found, words = read(SAMPLES / "auto_circuit.json", top=4)
    expected = {"a0.h1@last": -0.9, "a1.h2@last": 0.8, "m0@last": 0.7, "a0.h0@last": 0.3}
    assert list(found.items()) == list(expected.items())
    assert "token positions" not in words


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.booleans(), st.integers(0, 2), st.integers(0, 99))
def test_auto_circuits_scores_equal_the_edges_one_by_one(layers, heads, split, tokens, seed):
    """Built as auto-circuit does: nodes in order, an edge from each earlier source to each
    module's inputs."""
    draw = torch.Generator().manual_seed(seed)
    sources = [None] + [
        site.component for site in all_sites(layers, heads, ["all"])
    ]  # the input first
    modules, best = {}, {}

    def add(name, n_inputs, n_sources):
        shape = [tokens] * (tokens > 0) + [n_inputs] * (n_inputs > 1) + [n_sources]
        modules[name] = torch.randn(shape, generator=draw, dtype=torch.float64)
        for edge in modules[name].reshape(-1, n_sources):
            for source, score in zip(sources, edge.tolist(), strict=False):
                if source and abs(score) > abs(best.get(source, 0.0)):
                    best[source] = score

    for layer in range(layers):
        before = 1 + layer * (heads + 1)
        for ends in ("q_input", "k_input", "v_input") if split else ("attn_in",):
            add(f"blocks.{layer}.hook_{ends}", heads, before)
        add(f"blocks.{layer}.hook_mlp_in", 1, before + heads)
    add(f"blocks.{layers - 1}.hook_resid_post", 1, len(sources))
    given_ = as_json({name: scores.tolist() for name, scores in modules.items()})
    found, words = read(given_, n_layers=layers, n_heads=heads, top=len(best))
    assert found == {f"{part}@last": score for part, score in best.items()}
    assert len(found) == len(sources) - 1
    assert ("token positions" in words) == (tokens > 0)


def test_circuitkits_scores_need_top_and_its_nodes_are_the_removed_ones():
    with pytest.raises(ValueError, match="top must say how many sites to take, from 1 to 8"):
        read(SAMPLES / "circuitkit_scores.json")
    found, _ = read(SAMPLES / "circuitkit_scores.json", top=3)
    assert found == {"a0.h1@last": 0.9, "a1.h2@last": 0.8, "m0@last": 0.6}
    kept, words = read(SAMPLES / "circuitkit_nodes.json")
    assert set(kept) == THREE
    assert "5 nodes that it removed: the 3 others are the circuit" in words
    scores = json.loads((SAMPLES / "circuitkit_scores.json").read_text())
    scores["nodes"] = json.loads((SAMPLES / "circuitkit_nodes.json").read_text())
    assert read(as_json(scores))[0] == found


def test_a_cut_between_equal_scores_is_told():
    assert "between equal" in read(as_json({"a0.h0": 0.5, "a0.h1": -0.5, "m0": 1.0}), top=2)[1]
    assert "between equal" not in read(as_json({"a0.h0": 0.5, "a0.h1": 0.4}), top=1)[1]


def test_our_own_circuit_files_are_read_too(tmp_path):
    sites = (Site(head(1, 2), "query"), Site(mlp(0), "last"))
    Circuit(
        model="m", task="t", claim="c", method="x", seed=3, sites=sites, scores=(0.25, -1.0)
    ).save(tmp_path / "circuit.json")
    assert read(tmp_path / "circuit.json")[0] == {"a1.h2@query": 0.25, "m0@last": -1.0}


def eap_ig_graph(layers, heads, parallel):
    """The edges of EAP-IG's graph, as its `from_model` lists them."""
    edges, stream = set(), ["input"]
    for layer in range(layers):
        attention = [f"a{layer}.h{index}" for index in range(heads)]
        edges |= {f"{s}->{a}<{x}>" for s in stream for a in attention for x in "qkv"}
        seen = stream if parallel else stream + attention
        edges |= {f"{s}->m{layer}" for s in seen}
        stream = [*stream, *attention, f"m{layer}"]
    return edges | {f"{s}->logits" for s in stream}


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_a_circuit_written_for_mib_is_read_back_and_stays_whole_there(
    data, layers, heads, parallel
):
    every = all_sites(layers, heads, ["here"])
    sites = data.draw(st.lists(st.sampled_from(every), unique=True, min_size=1))
    scores = data.draw(
        st.lists(st.floats(-9, 9), min_size=len(sites), max_size=len(sites)).map(tuple)
    )
    circuit = Circuit(
        model="m", task="t", claim="c", method="x", seed=0, sites=tuple(sites), scores=scores
    )
    made = json.loads(as_json(write_foreign_mib(circuit, layers, heads, parallel=parallel)))
    found, scored, _ = read_foreign(as_json(made), n_layers=layers, n_heads=heads, position="here")
    assert dict(zip(found, scored, strict=True)) == dict(zip(sites, scores, strict=True))
    # What EAP-IG needs: edges that its graph has, and none of the nodes dropped when it prunes.
    assert set(made["edges"]) <= eap_ig_graph(layers, heads, parallel)
    inside = {name for name, node in made["nodes"].items() if node["in_graph"]}
    ends = [edge.partition("<")[0].split("->") for edge in made["edges"]]
    assert {source for source, _ in ends} == inside - {"logits"}
    assert {target for _, target in ends} == inside - {"input"}
    every_inside = {
        edge
        for edge in eap_ig_graph(layers, heads, parallel)
        if set(edge.partition("<")[0].split("->")) <= inside
    }
    assert set(made["edges"]) == every_inside


def test_what_mib_has_no_word_for_is_refused():
    sites = (Site(head(1, 2), "last"), Site(EMBED, "all"), Site(mlp(7), "last"))
    with pytest.raises(ValueError) as error:
        write_foreign_mib(
            Circuit(
                model="m", task="", claim="", method="x", seed=0, sites=sites, scores=(0.0,) * 3
            ),
            L,
            H,
        )
    assert "embed@all: not a head or MLP" in str(error.value)
    assert "m7@last: not a head or MLP" in str(error.value)
    assert "no positions; got all, last" in str(error.value)


def test_every_problem_is_told_at_once():
    with pytest.raises(ValueError) as error:
        read("a0.h1 a0.h1 a2.h0 a0.h3 m2 A0.1 nonsense", top=1)
    for words in (
        "listed twice: a0.h1",
        "a2.h0@last: the model has 2 layers of 3 heads",
        "a0.h3@last: the model has",
        "m2@last: the model has",
        "got 'A0.1'",
        "got 'nonsense'",
        "top is for files of scores",
    ):
        assert words in str(error.value)
    cfg = {"n_layers": 12, "n_heads": 3}
    nodes = {"a0.h0": {"in_graph": 1}, "q": True, "m0": {"score": "high"}, "a5.h0": True}
    with pytest.raises(ValueError) as error:
        read(as_json({"cfg": cfg, "nodes": nodes, "edges": {"a0.h0": {"in_graph": True}}}))
    for words in (
        "n_layers is 12 in the graph and 2 in the model",
        "in_graph must be true or",
        "not a head or an MLP: 'q'",
        "got 'high'",
        "a5.h0: the model has",
    ):
        assert words in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no head or MLP"),
        ("[]", "no head or MLP"),
        ("{}", "expected site names"),
        ('{"nodes": ["a0.h1"], "edges": 5}', "expected site names"),
        ("[1, 2]", "got 1"),
        ("[[true, 1]]", "got a list of 2"),
        ("[[0, 1e999]]", "got a list of 2"),
        ("[[0, -1]]", "got a list of 2"),
        (f"[[0, {'9' * 5000}]]", "expected JSON"),
        ("[[0, 1], [0, 1]]", "listed twice: a0.h1@last"),
        ('["a0.h1@"]', "expected a site"),
        ('["a0.h1@\\ud800"]', "expected a site"),
        ('{"g": [[0, 1], [0, 1]]}', "listed twice"),
        ('{"a0.h1": NaN}', "finite number; got nan"),
        ('{"a0.h1": 1e999}', "finite number; got inf"),
        (f'{{"a0.h1": {"9" * 400}}}', "finite number"),
        ('{"a0.h1": 1, "A0.1": 2}', "listed twice"),
        ('{"a0.h1": 1, "a0.h1": 2}', "listed twice"),
        ('{"node_scores": {"L0.5": 1}, "level": "neuron"}', "scores by node expected"),
        ('{"node_scores": {"L0.5": 1}}', "not a head or an MLP: 'L0.5'"),
        ('{"nodes": {}, "edges": {"a0.h1-m0": true}}', "an edge is called like"),
        ('{"nodes": {"m0": false}, "edges": {}}', "no score of a head or MLP"),
        ('{"nodes": {"m0": {"in_graph": true, "score": 1e999}}}', "finite number; got inf"),
        ('{"blocks.0.hook_mlp_in": [1, 2, 3]}', "expected rows of 4 or 1 scores; got a list of 3"),
        ('{"blocks.0.hook_mlp_in": [1, 2, NaN, 3]}', "finite number; got nan"),
        ('{"blocks.0.hook_mlp_in": [[[[[1]]]]]}', "expected rows of"),
        ('{"blocks.7.hook_mlp_in": [1]}', "not a module"),
        ('{"blocks.0.hook_resid_mid": [1]}', "not a module"),
        ("[" * 10_000_000, "nested too deep"),
        ('{"a":' * 1_000_000, "nested too deep"),
        ("[" * 900 + "]" * 900, "got a list of 1"),
        ("[1,", "expected JSON"),
    ],
)
def test_what_is_no_circuit_is_refused_in_words(text, words):
    with pytest.raises(ValueError, match=words):
        read(text)


@pytest.mark.parametrize("wrong", [{"top": 0}, {"n_layers": 0}, {"n_heads": -1}, {"position": ""}])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        read("a0.h1", **wrong)


def test_pickles_are_refused_by_name_and_by_content(tmp_path):
    for name in ("scores.pt", "scores.pkl", "scores.json"):
        torch.save({"a0.h1": 1.0}, tmp_path / name)
        with pytest.raises(ValueError, match=r"pickles are not opened.*write JSON"):
            read(tmp_path / name, top=1)
    (tmp_path / "latin.txt").write_bytes(b"a0.h1 \xff")
    with pytest.raises(ValueError, match="UTF-8"):
        read(tmp_path / "latin.txt")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none.json")


names = st.sampled_from(["a0.h1", "m0", "a1.h2@last", "A0.1", "MLP 1", "a9.h9", "input", "", "@"])
keys = names | st.sampled_from(
    [
        "nodes",
        "edges",
        "cfg",
        "in_graph",
        "score",
        "scores",
        "node_scores",
        "level",
        "n_layers",
        "format",
        "sites",
        "site",
        "a0.h1->m0",
        "m0->a1.h0<q>",
        "blocks.0.hook_mlp_in",
        "neurons",
        "blocks.1.hook_q_input",
        "blocks.1.hook_resid_post",
        "metadata",
    ]
)
leaves = (
    st.none()
    | st.booleans()
    | names
    | st.text(max_size=4)
    | st.floats()
    | st.integers(-2, 3)
    | st.integers(10**300, 10**320)
    | st.just("circuitfind/1")
)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=25,
)


def comes_to_sites_or_a_value_error(text, top):
    try:
        sites, scores, words = read_foreign(text, n_layers=L, n_heads=H, top=top)
    except ValueError as error:
        assert 0 < len(str(error)) < 10_000
        return
    model = {*all_sites(L, H, ["all"]), Site(EMBED, "all")}
    assert len(set(sites)) == len(sites) == len(scores) > 0
    assert {Site(site.component, "all") for site in sites} <= model
    assert all(type(score) is float and math.isfinite(score) for score in scores)
    assert words.startswith("read as ")


@settings(max_examples=400, deadline=None)
@given(anything, st.none() | st.integers(-1, 9))
def test_any_json_comes_to_sites_or_a_value_error(what, top):
    comes_to_sites_or_a_value_error(as_json(what), top)


@settings(max_examples=100, deadline=None)
@given(st.text() | st.lists(names).map(" ".join), st.none() | st.integers(1, 9))
def test_any_text_comes_to_sites_or_a_value_error(text, top):
    comes_to_sites_or_a_value_error(text, top)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(SAMPLES.glob("*.json"))), st.data(), st.none() | st.integers(1, 4))
def test_samples_with_a_part_replaced_come_to_sites_or_a_value_error(path, data, top):
    made = at = json.loads(path.read_text())
    while True:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not isinstance(at[key], dict | list) or not at[key] or data.draw(st.booleans()):
            at[key] = data.draw(anything)
            break
        at = at[key]
    comes_to_sites_or_a_value_error(as_json(made), top)


def test_a_circuit_of_a_file_keeps_its_digest_and_can_be_saved(tmp_path):
    model = planted_model()
    path = tmp_path / "found.json"
    path.write_text("[[1, 0], [1, 1]]")
    circuit = circuit_of(path, model, position="query")
    assert list(map(str, circuit.sites)) == ["a1.h0@query", "a1.h1@query"]
    assert (circuit.model, circuit.task, circuit.claim) == (model.name, "", "")
    assert (circuit.method, circuit.seed) == ("imported", 0)
    assert circuit.provenance["imported"] == {
        "format": "read as a list of 2 sites, without scores",
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }
    circuit.save(tmp_path / "circuit.json")
    assert load_circuit(tmp_path / "circuit.json") == circuit
    path.write_text('{"A1.0": 0.9, "A1.1": 0.8, "A0.0": 0.1}')
    assert list(map(str, circuit_of(path, model, top=2).sites)) == ["a1.h0@last", "a1.h1@last"]
    path.write_text("[[99, 0]]")
    with pytest.raises(ValueError, match=f"{path}: a99.h0@last: the model has"):
        circuit_of(path, model)
