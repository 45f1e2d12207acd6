"""The page on NumPyro models runs, cell after cell, and its numbers are right."""

import re
import warnings

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.optimised]


def test_the_page_runs(root):
    pytest.importorskip("nutpie")
    text = (root / "docs" / "numpyro_models.md").read_text()
    cells = re.findall(r"```\{code-cell\}\n(.*?)```", text, re.DOTALL)
    assert len(cells) >= 8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile("".join(cells), "docs/numpyro_models.md", "exec"), {"__name__": "page"})
