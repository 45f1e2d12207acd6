"""The public names are those of the checked-in snapshot: none comes or goes unnoticed."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

from tests.packaging.public_names import PACKAGES, public_names


@pytest.mark.parametrize("name", [*PACKAGES, "lawful.inference.kernels", "lawful.inference.check"])
def test_completion_offers_public_names_alone_and_submodules_still_are_there(name):
    package = importlib.import_module(name)
    assert set(package.__all__) <= set(dir(package)) <= {*package.__all__, "__version__", "inference", "models"}
    assert all(hasattr(package, offered) for offered in dir(package))
    inside = [module.name for module in pkgutil.iter_modules(package.__path__) if not module.name.startswith("__")]
    assert importlib.import_module(f"{name}.{inside[0]}").__name__ == f"{name}.{inside[0]}"


def test_public_names_are_those_of_the_snapshot(root):
    snapshot = set((root / "tests/packaging/public_names.txt").read_text().split())
    now = set(public_names())
    assert "lawful.sample" in now
    assert now == snapshot, (
        f"new: {sorted(now - snapshot)}; gone: {sorted(snapshot - now)}. Where this is meant, refresh the snapshot "
        "(the command is in tests/packaging/public_names.py) and add a line to CHANGELOG.md."
    )


@pytest.mark.slow
def test_an_import_loads_what_is_asked_for_alone():
    """Checks, graphs of other libraries, statistics and frames are loaded by who asks for them."""
    heavy = {"lawful.inference.check", "lawful.models", "networkx", "scipy.stats", "pandas", "arviz_stats"}
    text = f"import sys, lawful.inference; lawful.sample, lawful.inference.mcmc; print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()", done.stdout
