"""The version stands in pyproject.toml; what repeats it agrees."""

import importlib.metadata
import re
import tomllib

import lawful


def test_version_is_the_same_everywhere(root):
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    citation = re.search(r"^version: (.*)$", (root / "CITATION.cff").read_text(), re.MULTILINE)
    assert citation is not None
    assert lawful.__version__ == importlib.metadata.version("lawful") == citation[1] == version
