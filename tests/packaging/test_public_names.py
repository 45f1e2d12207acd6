"""The public names are those of the checked-in snapshot: none comes or goes unnoticed."""

from tests.packaging.public_names import public_names


def test_public_names_are_those_of_the_snapshot(root):
    snapshot = set((root / "tests/packaging/public_names.txt").read_text().split())
    now = set(public_names())
    assert "lawful.sample" in now
    assert now == snapshot, (
        f"new: {sorted(now - snapshot)}; gone: {sorted(snapshot - now)}. Where this is meant, refresh the snapshot "
        "(the command is in tests/packaging/public_names.py) and add a line to CHANGELOG.md."
    )
