"""The table of search methods, one file each."""

from ...registry import Later, Registry
from ..method import MethodSpec

# Rows are read where no model runs: what a method imports is imported when it runs.
search_activation_norm = Later(f"{__name__}.activation_norm", "search_activation_norm")
search_activation_variance = Later(f"{__name__}.activation_variance", "search_activation_variance")
search_attribution = Later(f"{__name__}.attribution", "search_attribution")
search_attribution_ig = Later(f"{__name__}.attribution_ig", "search_attribution_ig")
search_budget = Later(f"{__name__}.budget", "search_budget")
search_constrained = Later(f"{__name__}.constrained", "search_constrained")
search_dcm_2023 = Later(f"{__name__}.dcm_2023", "search_dcm_2023")
search_dcm_2024 = Later(f"{__name__}.dcm_2024", "search_dcm_2024")
search_exhaustive = Later(f"{__name__}.exhaustive", "search_exhaustive")
search_greedy = Later(f"{__name__}.greedy", "search_greedy")
search_hard_concrete = Later(f"{__name__}.hard_concrete", "search_hard_concrete")
search_random = Later(f"{__name__}.random_order", "search_random")
search_sigmoid = Later(f"{__name__}.sigmoid", "search_sigmoid")

_BUILT_IN = (
    MethodSpec(
        name="constrained",
        run=search_constrained,
        idea=(
            "fewest sites such that every desideratum reaches its bound; no penalty weight to tune"
        ),
        source="here; multipliers after Cotter et al. 2019, arXiv 1804.06500",
        seeded=True,
        polish=True,
    ),
    MethodSpec(
        name="dcm-2023",
        run=search_dcm_2023,
        idea="clamped gates, two alternating Adam steps, square-root penalty, rounding",
        source="Davies et al. 2023, arXiv 2307.03637, as released",
    ),
    MethodSpec(
        name="dcm-2024",
        run=search_dcm_2024,
        idea="clamped gates, target logit, linear penalty, the rounded mask that validates best",
        source="Prakash et al. 2024, arXiv 2402.14811, as released",
    ),
    MethodSpec(
        name="sigmoid",
        run=search_sigmoid,
        idea="gates as sigmoids whose temperature falls, small L1 (DBM)",
        source="Mueller et al. 2025, arXiv 2504.13151",
    ),
    MethodSpec(
        name="hard-concrete",
        run=search_hard_concrete,
        idea="sampled gates, Lagrangian with a size target that ramps (Edge Pruning, on sites)",
        source="Bhaskar et al. 2024, arXiv 2406.16778",
        seeded=True,
    ),
    MethodSpec(
        name="budget",
        run=search_budget,
        idea="gates that sum to k, k drawn anew at each step: one ranking for the whole frontier",
        source="goodfire-ai/causalab 2026, docs/methods/dbm.md",
        seeded=True,
    ),
    MethodSpec(
        name="attribution",
        run=search_attribution,
        idea="gradient of the leads with respect to gates, at the untouched model",
        source="Nanda 2023; Syed et al. 2023, arXiv 2310.10348",
    ),
    MethodSpec(
        name="attribution-ig",
        run=search_attribution_ig,
        idea="the same, averaged along the path of all gates",
        source="Hanna et al. 2024, arXiv 2403.17806",
    ),
    MethodSpec(
        name="exhaustive",
        run=search_exhaustive,
        idea="each site patched alone",
        source="Vig et al. 2020, arXiv 2004.12265",
    ),
    MethodSpec(
        name="greedy",
        run=search_greedy,
        idea="drop sites from the last layer down while the desiderata hold (ACDC, on sites)",
        source="Conmy et al. 2023, arXiv 2304.14997",
    ),
    MethodSpec(
        name="random",
        run=search_random,
        idea="sites in a random order",
        source="baseline",
        baseline=True,
        seeded=True,
    ),
    MethodSpec(
        name="activation-norm",
        run=search_activation_norm,
        idea="sites by the mean norm of what they write",
        source="baseline",
        baseline=True,
    ),
    MethodSpec(
        name="activation-variance",
        run=search_activation_variance,
        idea="sites by the variance of what they write",
        source="baseline",
        baseline=True,
    ),
)

METHODS: Registry[MethodSpec] = Registry(
    "circuitfind.methods", _BUILT_IN, "method", kind=MethodSpec
)
