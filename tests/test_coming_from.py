"""The ten worked models of the page for users of NumPyro, Gen and monad-bayes run, each by itself."""

import re
import warnings

import pytest

CELL = re.compile(r"```\{code-cell\}\n(.*?)```", re.DOTALL)


def sections(text):
    """The cells before the first model, and those of each model by its title."""
    start, *models = re.split(r"^## (?=\d)", text, flags=re.MULTILINE)
    return "".join(CELL.findall(start)), {model.split("\n")[0]: "".join(CELL.findall(model)) for model in models}


@pytest.fixture(scope="module")
def page(root):
    return sections((root / "docs" / "coming_from.md").read_text())


def test_there_are_ten_models(page):
    assert len(page[1]) == 10 and all(page[1].values())
    assert [title.split(".")[0] for title in page[1]] == [str(i) for i in range(1, 11)]


LONG = {9}  # runs for longer than it compiles


NUMBERS = [pytest.param(n, marks=[pytest.mark.optimised, pytest.mark.slow] if n in LONG else []) for n in range(1, 11)]


@pytest.mark.rest_slow
@pytest.mark.parametrize("number", NUMBERS)
def test_a_model_runs_and_its_numbers_are_right(page, number):
    title = next(title for title in page[1] if title.startswith(f"{number}."))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(page[0] + page[1][title], f"docs/coming_from.md, {title}", "exec"), {"__name__": "page"})
