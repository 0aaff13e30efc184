"""Figures of `scripts/reproduce_dcm.py`: size against satisfaction, and which sites are backups."""

from pathlib import Path
from typing import Any

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure

from circuitfind.report.figures.style import STYLE, save_figure

# Told apart by marker and line as well as by hue.
LOOKS = {
    "constrained": {"color": "#11518b", "marker": "o", "linestyle": "-"},
    "dcm-2024": {"color": "#d27830", "marker": "s", "linestyle": "--"},
    "dcm-2023": {"color": "#5a5a5a", "marker": "^", "linestyle": ":"},
}


def draw_sizes(found: dict[str, Any], path: Path) -> None:
    """One panel a desideratum: each method's circuits by size, and 5 to 95 % of random ones.

    Lines are the frontier of seed 0 on the selection pairs; large marks are the circuits of all
    seeds on held-out pairs.
    """
    names = list(dict.fromkeys(row["desideratum"] for row in found["band"]))
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure((3.4 * len(names), 2.9), layout="constrained")
        for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
            band = [row for row in found["band"] if row["desideratum"] == name]
            sizes = [row["size"] for row in band]
            axes.fill_between(
                sizes,
                [row["low"] for row in band],
                [row["high"] for row in band],
                color="#d8d8d8",
                label=f"{band[0]['n_random']} random circuits, 5 to 95 %",
            )
            axes.plot(
                sizes,
                [row["best"] for row in band],
                color="#9a9a9a",
                linewidth=0.8,
                label="the best of them",
            )
            for method, frontier in found["frontiers"].items():
                points = [point for point in frontier if 0 < point["size"] <= max(sizes)]
                axes.plot(
                    [point["size"] for point in points],
                    [point["satisfaction"][name] for point in points],
                    **LOOKS[method],
                    markersize=2,
                    linewidth=0.9,
                    label=f"{method}, selection pairs",
                )
                rows = [r for r in found["searches"] if r["search"] == f"{method}: two desiderata"]
                axes.plot(
                    [row["heads"] + row["mlps"] for row in rows],
                    [row["desiderata"][name]["satisfaction"] for row in rows],
                    **LOOKS[method] | {"linestyle": "none"},
                    markersize=7,
                    markeredgecolor="black",
                    label=f"{method}, {len(rows)} seed{'s'[: len(rows) > 1]}, held out",
                )
            # Not of the other claims, which have desiderata of the same name on other pairs.
            needs = [
                row["desiderata"][name]["need"]
                for row in found["searches"]
                if row["search"].endswith(": two desiderata")
            ]
            axes.axhline(
                float(np.mean(needs)), color="#a8321a", linewidth=1, label="needed to hold"
            )
            for end, dash in (("null", (0, (1, 1))), ("ceiling", (0, (4, 2)))):
                words = f"{end}: {'no' if end == 'null' else 'every'} site patched"
                axes.axhline(
                    band[0][end], color="#4d7a5a", linewidth=0.9, linestyle=dash, label=words
                )
            axes.set_xscale("log")
            axes.set_xticks([1, 2, 4, 8, 16, 32, 64], [1, 2, 4, 8, 16, 32, 64])
            axes.minorticks_off()
            axes.set(
                title=name,
                xlabel="sites in the circuit",
                ylabel="share of pairs",
                ylim=(-0.03, 1.06),
            )
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
        save_figure(figure, path)


def draw_backups(backups: dict[str, Any], path: Path) -> None:
    """What each pair of sites costs beyond the sum of its two; on the diagonal, each one alone."""
    names = list(backups["sites"])
    table = np.full((len(names), len(names)), np.nan)
    for row in backups["pairs"]:
        i, j = sorted((names.index(row["first"]), names.index(row["second"])))
        table[j, i] = row["extra"]
    np.fill_diagonal(table, list(backups["sites"].values()))
    reach = max(0.05, float(np.nanmax(np.abs(table))))
    with matplotlib.style.context(["default", STYLE]):
        side = 1.4 + 0.36 * len(names)
        figure = Figure((side + 0.8, side), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(table, cmap="PuOr", vmin=-reach, vmax=reach)
        for (row, column), value in np.ndenumerate(table):
            if np.isfinite(value):
                dark = abs(value) > 0.6 * reach
                axes.text(
                    column,
                    row,
                    f"{value:.2f}".replace("-0.00", "0.00"),
                    ha="center",
                    va="center",
                    color="white" if dark else "black",
                    fontsize=5.5,
                )
        axes.set_xticks(range(len(names)), [name.split("@")[0] for name in names], rotation=60)
        axes.set_yticks(range(len(names)), [name.split("@")[0] for name in names])
        axes.set_title(
            "diagonal: cost of leaving the site out;\nbelow: what a pair costs beyond the two",
            fontsize=7,
        )
        figure.colorbar(image, label="share of pairs, desideratum hurt most", shrink=0.8)
        save_figure(figure, path)
