"""The pins in constraints.txt are versions alone, satisfy pyproject.toml, and no lock file takes their place."""

import re
import shutil
import subprocess
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@pytest.fixture(scope="module")
def lines(root):
    return (root / "constraints.txt").read_text().splitlines()


@pytest.fixture(scope="module")
def pins(lines):
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in requirements}


@pytest.fixture(scope="module")
def requirements(root):
    """What the package and the extras that a developer installs ask for, without the package's own extras."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [line for extra in project["optional-dependencies"].values() for line in extra]
    parsed = [Requirement(line) for line in wanted]
    return [requirement for requirement in parsed if requirement.name != "lawful"]


def test_a_pin_is_a_name_and_a_version_alone(lines):
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.!+]+( ; .+)?", line) or "://" in line] == []


def test_every_requirement_is_pinned_within_its_bounds(pins, requirements):
    pinned = {requirement.name: pins.get(canonicalize_name(requirement.name)) for requirement in requirements}
    outside = [str(r) for r in requirements if pinned[r.name] is None or pinned[r.name] not in r.specifier]
    assert outside == []


def test_jax_and_jaxlib_are_pinned_to_one_version(pins):
    assert pins["jax"] == pins["jaxlib"] == "0.11.2"


def test_no_lock_file_and_no_symbolic_link_is_tracked(root):
    """A link holds a path of the machine on which it was made."""
    if shutil.which("git") is None or not (root / ".git").exists():
        pytest.skip("not a git checkout: nothing is tracked")
    listed = subprocess.run(["git", "ls-files", "--stage"], cwd=root, capture_output=True, text=True, check=True).stdout
    tracked = {path: about for about, path in (line.split("\t") for line in listed.splitlines())}
    assert not {"uv.lock", "pylock.toml"} & {path.rpartition("/")[2] for path in tracked}
    assert [path for path, about in tracked.items() if about.startswith("120000")] == []
