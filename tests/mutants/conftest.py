"""Prints the table of mutants at the end of a run that planted any."""

import pytest

OUTCOMES = pytest.StashKey[list]()


@pytest.fixture
def note(request):
    """Keeps an outcome for the table."""
    return request.config.stash.setdefault(OUTCOMES, []).append


def pytest_terminal_summary(terminalreporter, config):
    outcomes = config.stash.get(OUTCOMES, [])
    if not outcomes:
        return
    from tests.mutants.table import HEADER, last_line  # the faults compile, and how is chosen after this file is read

    terminalreporter.section("mutants")
    for line in (HEADER, *map(str, outcomes), last_line(outcomes)[0]):
        terminalreporter.write_line(line)
