"""The page of faults: each row names tests that exist, each test has its row, and no row of the contract is missing."""

import re

import pytest

ROW = re.compile(r"^\| (\d+) \| (.*) \| (.*) \| (.*) \| (.*) \|$", re.MULTILINE)
NAMED = re.compile(r"`(test_f(\d\d)_\w+\.py)::(\w+)`")
ROWS = list(range(1, 52))


@pytest.fixture(scope="module")
def rows(root):
    """(number, cells) of every row of the page."""
    return [(int(number), cells) for number, *cells in ROW.findall((root / "docs" / "faults.md").read_text())]


def test_the_page_has_each_row_once(rows):
    assert sorted(number for number, _ in rows) == ROWS


def test_every_row_says_what_happens_and_what_to_do(rows):
    assert all(cell.strip() for _, cells in rows for cell in cells)


def test_every_row_names_tests_that_exist_and_bear_its_number(root, rows):
    for number, (*_, tests) in rows:
        found = NAMED.findall(tests)
        assert found, f"row {number} names no test"
        for file, of, name in found:
            text = (root / "tests" / "faults" / file).read_text()
            assert int(of) == number and name.startswith(f"test_f{number:02}_"), (number, file, name)
            assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"row {number}: no test {name} in {file}"


def test_every_file_of_tests_has_its_row_and_every_test_in_it_bears_the_number(root, rows):
    on_the_page = {file for _, (*_, tests) in rows for file, _, _ in NAMED.findall(tests)}
    files = {file.name: file for file in (root / "tests" / "faults").glob("test_f[0-9][0-9]_*.py")}
    assert files.keys() == on_the_page
    for name, file in files.items():
        tests = re.findall(r"^(?:async )?def (test_\w+)", re.sub(r'""".*?"""', "", file.read_text(), flags=re.S), re.M)
        assert tests and all(test.startswith(name[:8]) for test in tests), name
