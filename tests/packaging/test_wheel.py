"""The package from outside: sdist and wheel are built, and the wheel alone serves an empty folder, without network."""

import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

NOT_SOURCE = shutil.ignore_patterns(
    ".git", ".venv", ".tool", "build", "dist", "out", "_build", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis",
    ".environments", ".partial",
)  # fmt: skip

# Runs in the folder and environment that hold the wheel and its dependencies, nothing else of the project.
USES_THE_WHEEL = """
import importlib.util, math, pathlib, sys
import numpyro.distributions as dist
import lawful, lawful.inference, lawful.models

for module in (lawful, lawful.inference, lawful.models):
    assert pathlib.Path(module.__file__).is_relative_to(sys.prefix), module.__file__
for name in ("ppl", "inference", "models"):
    assert importlib.util.find_spec(name) is None, name

def coin():
    heads = lawful.sample("heads", dist.Bernoulli(0.25))
    lawful.sample("bell", dist.Bernoulli(0.2 + 0.6 * heads), obs=1)
    return heads

exact = lawful.inference.enumerate(coin)()
assert math.isclose(math.exp(exact.log_evidence), 0.25 * 0.8 + 0.75 * 0.2, rel_tol=1e-6), exact
print("used", lawful.__version__)
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(root, tmp_path_factory) -> Path:
    """The folder with the sdist and the wheel, the wheel built from the sdist."""
    source = tmp_path_factory.mktemp("source") / "lawful"
    shutil.copytree(root, source, ignore=NOT_SOURCE)
    run(sys.executable, "-m", "build", "--no-isolation", cwd=source)
    return source / "dist"


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    (wheel,) = built.glob("lawful-*-py3-none-any.whl")
    return wheel


@pytest.mark.slow
def test_sdist_holds_what_a_packager_needs(built):
    (sdist,) = built.glob("lawful-*.tar.gz")
    with tarfile.open(sdist) as archive:
        paths = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "Makefile", "constraints.txt",
        "docs/conf.py", "docs/law.md", "tests/conftest.py", "tests/packaging/public_names.txt", "ppl/py.typed",
    } <= paths  # fmt: skip


@pytest.mark.slow
def test_wheel_installs_lawful_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        paths = archive.namelist()
    assert {path.partition("/")[0].partition("-")[0] for path in paths} == {"lawful"}
    assert {"lawful/py.typed", "lawful/inference/py.typed", "lawful/models/py.typed"} <= set(paths)


@pytest.mark.slow
def test_wheel_alone_serves_an_empty_folder(wheel, tmp_path):
    """A new environment gets the wheel's files, and the dependencies by a path that activates no other install."""
    environment, empty = tmp_path / "environment", tmp_path / "empty"
    empty.mkdir()
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=empty)
    python = environment / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=empty).strip())
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)  # a pure wheel is its own installation
    (site / "dependencies.pth").write_text("\n".join({sysconfig.get_path(kind) for kind in ("purelib", "platlib")}))
    assert run(python, "-I", "-c", USES_THE_WHEEL, cwd=empty).startswith("used ")
