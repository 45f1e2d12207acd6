"""The worked models of the page for users of NumPyro, Gen and R run, each by itself, and their results are ok."""

import re
import warnings

import pytest

from tests.pages import Page

LONG = {"9"}  # runs for longer than it compiles
MODELS = [*map(str, range(1, 11)), "From R"]


def title(block):
    """The number of a model, or the words of another heading; none for what stands before all of them."""
    return re.match(r"#+ (\d+|.*)", block.section)[1]


@pytest.fixture
def page(root):
    return Page(root / "docs" / "coming_from.md")


def test_there_are_ten_models(page):
    start, *titles = dict.fromkeys(map(title, page.blocks))
    assert start.startswith("From NumPyro") and sorted(titles) == sorted(MODELS)


@pytest.mark.rest_slow
@pytest.mark.parametrize(
    "model",
    [pytest.param(n, marks=[pytest.mark.optimised, pytest.mark.slow] if n in LONG else []) for n in MODELS],
)
def test_a_model_runs_and_its_numbers_are_right(page, model):
    first = page.blocks[0]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page.run(lambda block: block == first or title(block) == model)
    assert page.untold() == []
