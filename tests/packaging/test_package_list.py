"""The list of packages in pyproject.toml is the list of folders: a forgotten sub-package would miss in the wheel."""

import subprocess
import sys
import tomllib

import pytest

FOLDERS = {"ppl": "lawful", "inference": "lawful.inference", "models": "lawful.models"}


@pytest.fixture(scope="module")
def tool(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]


def test_packages_are_the_folders_with_an_init_file(root, tool):
    found = {
        ".".join([package, *init.parent.relative_to(root / folder).parts])
        for folder, package in FOLDERS.items()
        for init in (root / folder).rglob("__init__.py")
    }
    assert set(tool["packages"]) == found


def test_every_folder_with_python_files_is_a_package(root):
    without_init = {
        str(file.parent.relative_to(root))
        for folder in FOLDERS
        for file in (root / folder).rglob("*.py")
        if not (file.parent / "__init__.py").exists()
    }
    assert not without_init


def test_the_three_folders_install_under_their_public_names(tool):
    assert tool["package-dir"] == {package: folder for folder, package in FOLDERS.items()}


@pytest.mark.parametrize(("folder", "package"), FOLDERS.items())
def test_importing_a_folder_by_its_own_name_is_refused(root, folder, package):
    run = subprocess.run([sys.executable, "-c", f"import {folder}"], cwd=root, capture_output=True, text=True)
    assert run.returncode != 0
    assert f"ImportError: import {package}, not {folder}" in run.stderr
