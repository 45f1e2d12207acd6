"""The page of faults: no row of the contract is missing, each has tests that are marked with it, each test a row."""

import ast
import os
import re
import runpy
import sys
from types import SimpleNamespace
from unittest import mock

import pytest

from tests.faults.page import ROW
from tests.marked import marked

ROWS = list(range(1, 52))


@pytest.fixture(scope="module")
def page(root):
    return (root / "docs" / "faults.md").read_text()


def test_the_page_has_each_row_once(page):
    assert sorted(int(number) for number, *_ in ROW.findall(page)) == ROWS


def test_every_row_says_what_happens_and_what_to_do(page):
    assert all(cell.strip() for _, *cells in ROW.findall(page) for cell in cells)


def test_every_row_has_tests_and_every_marker_a_row():
    assert {row for test in marked("fault") for row in test.named} == set(ROWS)


def test_the_documentation_has_every_marked_test_in_its_row(page, root, monkeypatch):
    """What Sphinx reads after it has asked docs/conf.py, which may set variables and paths of its own process."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    with mock.patch.dict(os.environ):
        conf = runpy.run_path(str(root / "docs" / "conf.py"))
    hooks, read = {}, {"faults": [page], "errors": [page]}
    conf["setup"](SimpleNamespace(connect=hooks.__setitem__))
    for name, text in read.items():
        hooks["source-read"](None, name, text)
    assert read["errors"] == [page]
    rows = {int(cells[0]): cells[-1] for cells in re.findall(r"^\| (\d+) \|.*\|.*\|.*\|(.*)\|$", *read["faults"], re.M)}
    assert rows.keys() == set(ROWS)
    assert all(f"`{test}`" in rows[row] for test in marked("fault") for row in test.named)


def test_every_file_of_tests_has_a_marked_test_and_its_tests_bear_its_number(root):
    """As `test_f11_` in names, by which the tests of a row are run: `pytest tests -k f11`."""
    of = {(test.file, row) for test in marked("fault") for row in test.named}
    for file in (root / "tests" / "faults").glob("test_f[0-9][0-9]_*.py"):
        assert (f"faults/{file.name}", int(file.name[6:8])) in of, file.name
        names = [getattr(node, "name", "") for node in ast.parse(file.read_text()).body]
        assert all(name.startswith(file.name[:8]) for name in names if name.startswith("test_")), file.name
