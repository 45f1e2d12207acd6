"""What every test runs under: float64, derandomised properties, no display, the reference data or a clear reason."""

import contextlib
import gc
import importlib
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from hypothesis import settings
from hypothesis.internal.conjecture import providers

if os.environ.get("LAWFUL_CHECK_TYPES"):  # as `make slow` does: it is a tenth of the time of all tests
    import tests.typecheck  # noqa: F401 - what is imported after it is checked

from lawful.backends.compile_options import compile_cache, compile_quickly
from tests import mappings

pytest_plugins = ["lawful.inference.check.pytest_plugin"]  # the account of false alarms, and --validate-fresh

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("LAWFUL_PROGRESS", "0")  # as where nobody watches
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # of the programs that tests start
jax.config.update("jax_enable_x64", True)  # exact laws hold to 1e-12

ROOT = Path(__file__).resolve().parents[1]
COMPILED, MOST_KEPT = ROOT / ".pytest_cache" / "d" / "compiled", 1 << 30  # bytes; a run leaves a fifth of that

# A change is judged on the same examples every time; `--hypothesis-profile=nightly` looks for new ones.
settings.register_profile("ci", derandomize=True, deadline=None, database=None, print_blob=True)
settings.register_profile("nightly", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile("ci")

# Nor does it try the numbers that stand in the sources: with them each change of the code would change all examples.
providers._get_local_constants = lambda: providers._local_constants  # which has no switch

MUCH = 500_000  # objects since the last search for garbage, which takes .04 s

WATCHED = (ROOT / "tests" / "ppl", ROOT / "tests" / "check")


def pytest_configure(config: pytest.Config) -> None:
    """Choose how the whole process compiles: quickly, or as for users where slow tests run.

    What was compiled is kept, so that a second run takes half the time; `--cache-clear` forgets it, and so does a run
    that finds more than a few runs leave.
    """
    if "not slow" in config.option.markexpr:
        compile_quickly()
    if not hasattr(config, "workerinput") and sum(file.stat().st_size for file in COMPILED.glob("*")) > MOST_KEPT:
        shutil.rmtree(COMPILED, ignore_errors=True)
    compile_cache(COMPILED)
    mappings.count_compilations()


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """Import all files of tests from the last to the first, where another worker imports them from the first.

    Both need all of them, and what pytest makes of their assertions is kept on disk: so each makes one half alone. What
    cannot be imported is told when it is collected.
    """
    whole = session.config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if whole and getattr(session.config, "workerinput", {}).get("workerid") == "gw1":
        for file in sorted((ROOT / "tests").rglob("test_*.py"), reverse=True):
            with contextlib.suppress(Exception, pytest.skip.Exception):
                importlib.import_module(".".join(file.relative_to(ROOT).with_suffix("").parts))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the cases after the first of a test marked rest_slow to the slow tier."""
    begun = set()
    for item in items:
        if item.get_closest_marker("rest_slow"):
            test = item.nodeid.partition("[")[0]
            if test in begun:
                item.add_marker(pytest.mark.slow)
            begun.add(test)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Compile without the optimisations that cost more than they save on the small programs of most tests.

    A hook, and no fixture: what the fixtures of a whole file compile has to have the bits of what its tests compile.
    """
    jax.config.update("jax_disable_most_optimizations", item.get_closest_marker("optimised") is None)


def pytest_collection_finish() -> None:
    """Leave what was imported and collected out of every later search for garbage, and search seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000_000)


@pytest.fixture(scope="module", autouse=True)
def garbage_is_searched_for_seldom() -> Iterator[None]:
    """Leave what files of tests have left for good, compiled programs above all, out of later searches for garbage."""
    yield
    if gc.get_count()[0] > MUCH:
        gc.collect()
        gc.freeze()


@pytest.fixture(autouse=True)
def compiled_programs_are_let_go() -> Iterator[None]:
    """Let them go before the process has no mapping left."""
    yield
    mappings.mind()


@pytest.fixture(autouse=True)
def an_interrupt_is_one() -> Iterator[None]:
    """Handle SIGINT as in a user's process; those that run tests side by side ignore it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def keys_are_consumed_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """The guard of row 15 stands over the tests of the language and of the checks.

    A test that draws with one key many times says so by its marker. Elsewhere tests raise the guard themselves: JAX
    0.11 fails to run some watched programs, and takes keys that vmap has moved for used ones.
    """
    watched = request.path.parent in WATCHED and request.node.get_closest_marker("reuses_keys") is None
    with jax.debug_key_reuse(watched):
        yield


@pytest.fixture
def single_precision() -> Iterator[None]:
    """What users run unless they ask for more."""
    with jax.enable_x64(False):
        yield


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of reference data: LAWFUL_DATA, or ../shared/data beside the project."""
    folder = Path(os.environ.get("LAWFUL_DATA") or ROOT.parent / "shared" / "data")
    if folder.is_dir():
        return folder
    reason = f"no reference data: {folder} is not a folder; put them there, or set LAWFUL_DATA to their folder"
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
