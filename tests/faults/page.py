"""The page of faults as readers see it: each row of its tables with the tests that are marked with its number."""

import re

from tests.marked import marked

HEAD = "| # | fault | what happens | what to do |"
RULE = "|---|---|---|---|"
ROW = re.compile(r"^\| (\d+) \| (.*) \| (.*) \| (.*) \|$", re.MULTILINE)


def with_tests(text: str) -> str:
    """Give the page with a column more: `@pytest.mark.fault(11)` puts a test into row 11."""
    tests: dict[str, list[str]] = {}
    for test in marked("fault"):
        for row in test.named:
            tests.setdefault(str(row), []).append(f"`{test}`")
    text = text.replace(f"{HEAD}\n{RULE}", f"{HEAD} test |\n{RULE}---|")
    return ROW.sub(lambda row: f"{row[0]} {', '.join(tests.get(row[1], []))} |", text)
