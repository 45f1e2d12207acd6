"""Pytest plugin: a test suite as one statistical claim, with the false-alarm rate that all its checks share.

Law: each check of the suite fails on lawful code with probability at most its share, so the suite does with at most the
sum, which is printed. With `--validate-fresh SEED` every check draws with a key of its own for that seed.

A suite takes part by `pytest_plugins = ["lawful.inference.check.pytest_plugin"]` in its `conftest.py`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from .statistics.claims import PLACE, SUITE
from .statistics.keys import FRESH, Registry

IDS = "lawful_claims"  # what a worker of pytest-xdist sends to its controller
CLAIMS = pytest.StashKey[Registry]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that gives every check another key."""
    parser.getgroup("lawful").addoption(
        "--validate-fresh",
        type=int,
        default=None,
        metavar="SEED",
        help="mix SEED into the key of every statistical check, to validate their false-alarm rates",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Begin the account of the suite."""
    config.stash[CLAIMS] = Registry()
    SUITE.set(config.stash[CLAIMS])
    FRESH.set(config.getoption("--validate-fresh"))


def pytest_unconfigure(config: pytest.Config) -> None:
    """End it."""
    SUITE.set(None)
    FRESH.set(None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Let claims be told apart by the test that makes them."""
    token = PLACE.set(item.nodeid)
    try:
        return (yield)
    finally:
        PLACE.reset(token)


@pytest.fixture
def false_alarm(request: pytest.FixtureRequest) -> float:
    """The false-alarm rate of a test with a statistic of its own: the share of one registered check."""
    registry: Registry = request.config.stash[CLAIMS]
    return registry.register(request.node.nodeid)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Send what a worker has claimed to its controller."""
    sent: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if sent is not None:
        sent[IDS] = list(session.config.stash[CLAIMS].ids)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add the claims of a worker."""
    for check_id in getattr(node, "workeroutput", {}).get(IDS, ()):
        node.config.stash[CLAIMS].register(check_id)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the sum of all shares."""
    if config.stash[CLAIMS].ids:
        terminalreporter.write_line(told(config.stash[CLAIMS], config.getoption("--validate-fresh")))


def told(registry: Registry, fresh: int | None = None) -> str:
    """Say what the checks of a suite may spend together.

    >>> registry = Registry(capacity=4, alpha=1e-6)
    >>> [registry.register(name) for name in ("a", "b")]
    [2.5e-07, 2.5e-07]
    >>> told(registry)
    'false alarms: 2 statistical checks of at most 2.5e-07 each, together 5e-07; room for 4 and 1e-06'
    """
    n, share = len(registry.ids), registry.alpha / registry.capacity
    seed = "" if fresh is None else f"; fresh seed {fresh}"
    return (
        f"false alarms: {n} statistical checks of at most {share:.3g} each, together {n * share:.3g}; "
        f"room for {registry.capacity} and {registry.alpha:.3g}{seed}"
    )
