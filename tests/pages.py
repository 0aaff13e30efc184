"""Pages with any text wherever a stranger may write, and what a page is made of."""

from html.parser import HTMLParser
from itertools import combinations

from circuitfind.circuits.circuit import Circuit, Edge
from circuitfind.circuits.examples import Attention, Example, Examples, ExampleSet
from circuitfind.mediators.known import parse_site
from circuitfind.validate.card import Card
from circuitfind.validate.finding import DesideratumScore, Finding, Loss

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "<!-- <script>",
    '"><img src=x onerror=alert(3)>',
    "{{ 7 * 7 }} {% raw %}",
    "' onfocus='alert(4)",
    "&lt;b&gt;",
    "a\nb\r\tc\x00",
    "\u202egnp.exe\u2066",
    "🦊" * 50,
    "$\\alpha$ ${x}",
    "]]> --> */",
    "javascript:alert(5)",
    "x" * 3000,
)


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the text of its scripts."""

    def __init__(self, page):
        super().__init__()
        self.found, self.scripts, self.text = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        inside = self.found[-1][0] if self.found else ""
        (self.scripts if inside == "script" and self.cdata_elem else self.text).append(data)


def a_page(*texts, **changes):
    """A circuit, its report and its examples with these texts wherever a stranger may write."""
    texts = texts or ("plain",)
    told = " ".join(texts)
    # A position is on one line, and has no @.
    places = [" ".join(text.split()).replace("@", "") for text in texts]
    sites = tuple(parse_site(f"a0.h{n}@{place}") for n, place in enumerate(places))
    last = parse_site(f"m1@{places[0]}")
    circuit = Circuit(
        model=told,
        task=told,
        claim=told,
        method=told,
        seed=0,
        sites=(*sites, last),
        scores=(*(0.4 for _ in sites), -0.1),
        provenance={"n_layers": 2, "n_heads": len(sites), "positions": places, told: told},
        edges=(
            Edge(
                sender=sites[0],
                receiver=last,
                channel="in",
                effect=0.5,
                low=0.25,
                high=0.75,
                n=9,
                unit=told,
            ),
            Edge(
                sender=last,
                receiver=None,
                channel="answer",
                effect=-1.5,
                low=-2.0,
                high=-1.0,
                n=9,
                unit=told,
            ),
        ),
    )
    scores = tuple(
        DesideratumScore(
            name=text,
            part="inside",
            sense="follows",
            n=96,
            null=0.0,
            ceiling=1.0,
            satisfaction=0.9,
            low=0.8,
            high=0.95,
            at_least=0.95,
            need=0.95,
            holds=False,
            vacuous=False,
            ablation=text,
            split="held-out",
            lead=-0.25,
            lead_low=-0.5,
            lead_high=0.125,
            unit=text,
            loss=Loss(
                limit=text,
                mean=0.625,
                low=0.51,
                high=0.75,
                allowed=0.5,
                unit=text,
                verdict="fails",
            ),
        )
        for text in texts
    )
    row = {
        "site": str(sites[0]),
        "desideratum": texts[0],
        "effect": 0.25,
        "lost": 24,
        "won": 0,
        "n": 96,
        "p": 0.001,
        "effects": dict.fromkeys(texts, 0.25),
        "needed": True,
    }
    findings = tuple(
        Finding(
            name=name,
            verdict="fails",
            value=0.5,
            low=0.0,
            high=1.0,
            n=96,
            ablation=text,
            split="held-out",
            says=text,
            details=({**row, text: text}, row | {name: text}),
        )
        for name, text in zip(("leave one out", *texts), (told, *texts), strict=True)
    )
    card = Card(scores, findings, binds={"circuit": circuit.digest, "pairs": told})
    report = {
        "success": False,
        "message": told,
        "size": {"of": 8},
        **card.as_json(),
        "notes": [told],
        "problems": [told],
        "created": told,
        "cost": None,
        "frontier": [
            {
                "size": n,
                "sites": [],
                "satisfaction": dict.fromkeys(texts, 0.3 * n),
                "slack": 0.3 * n - 0.95,
            }
            for n in range(4)
        ],
    }
    sets = tuple(
        ExampleSet(
            text,
            96,
            86,
            (
                Example(
                    base=text,
                    source=text,
                    expected=text,
                    base_answer=text,
                    source_answer=text,
                    got=text,
                    untouched=text,
                    everything=text,
                    right=False,
                ),
            ),
        )
        for text in texts
    )
    weights = {str(site): (*(0.1 for _ in texts), 0.9) for site in sites}
    attention = Attention((*texts, " end"), {places[0]: 0}, weights)
    return circuit, report | changes, Examples(circuit.digest, sets, attention)


def a_comparison(*texts, shared=True):
    """What a compare.json holds of circuits of these names, each on the others' desiderata, which
    have these names as well; the first two share a site."""
    texts = texts or ("plain",)
    circuit, report, _ = a_page(*texts)
    told = circuit.as_json() | {"edges": []}
    names = [*texts, *(["shared"] if shared else [])]
    circuits = {
        name: told | {"sites": [row for k, row in enumerate(told["sites"]) if k in (n, max(1, n))]}
        for n, name in enumerate(names)
    }
    overlaps = [
        {"first": a, "second": b, "shared": 1, "jaccard": 0.5, "chance": 0.03, "p": 0.002}
        for a, b in combinations(names, 2)
    ]
    scores = report["desiderata"]
    holding = [row | {"satisfaction": 1.0, "holds": True, "loss": None} for row in scores]
    matrix = {
        row: {claim: holding if row in (claim, "shared") else scores for claim in texts}
        for row in names
    }
    made = {"success": True, "message": " ".join(texts)} if shared else None
    return {
        "circuits": circuits,
        "overlaps": overlaps,
        "matrix": matrix,
        "shared": made,
        "n_sites": 8,
        "command": " ".join(texts),
    }
