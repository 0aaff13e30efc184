"""Models that many tests share, made once a session."""

import gc
import os

import pytest

from .shapes import install

gc.disable()  # nothing that the imports below and those of the tests make is garbage
install()  # before the first import of circuitfind
os.environ["HF_HUB_OFFLINE"] = "1"  # tests ask no hub, nor wait for one that does not answer


def pytest_collection_finish():
    """Leave all that was imported out of what is searched for garbage from here on."""
    import torch

    torch.set_num_threads(1)  # pytest-xdist runs two workers on two cores
    draw_once()
    gc.freeze()
    gc.enable()


def draw_once():
    """Let pairs of the `planted` task be drawn once a session for each claim, number and seed: most
    tests of runs want the same ones, which take longer than their model. They cannot be changed."""
    from desiderata.claim import Claim
    from tasks import planted

    drawn, sample = {}, Claim.sample

    def sample_once(self: Claim, n: int, seed: int = 0):
        if self.model is not planted.model:
            return sample(self, n, seed)
        same = drawn.setdefault((self.name, self.at, self.read, n, seed), [])
        for rules, made in same:
            if rules == self.rules:
                return made
        same.append((self.rules, sample(self, n, seed)))
        return same[-1][1]

    Claim.sample = sample_once


@pytest.fixture(scope="session")
def planted():
    from .planted import planted_model

    return planted_model()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The tiny model of an architecture, by name."""
    from .tiny import tiny_model

    made = {}

    def get(architecture: str):
        if architecture not in made:
            folder = tmp_path_factory.mktemp(architecture)
            made[architecture] = tiny_model(architecture, folder)
        return made[architecture]

    return get


@pytest.fixture(scope="session")
def planted_run(tmp_path_factory):
    """The folder of a small run on the planted model, which no test changes: it is copied."""
    from circuitfind.runs.run import discover
    from circuitfind.runs.settings import Settings

    folder = tmp_path_factory.mktemp("planted") / "run"
    discover(Settings(task="planted", model="planted", n=24, steps=30, n_random=5), folder)
    return folder


@pytest.fixture(scope="module")
def browser():
    """A Chromium, for tests of pages."""
    from .browser import chromium

    with chromium() as made:
        yield made
