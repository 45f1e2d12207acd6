"""Records in a file of comma-separated values.

Law: what was written is read, as text; a field that the file does not have is empty.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

__all__ = ["read", "write"]


def read(file: Path, fields: Sequence[str]) -> list[dict[str, str]]:
    """Read records, none where there is no file."""
    if not file.exists():
        return []
    with file.open(newline="") as stream:
        return [dict.fromkeys(fields, "") | row for row in csv.DictReader(stream)]


def write(file: Path, fields: Sequence[str], rows: Sequence[dict[str, str]]) -> None:
    """Write records."""
    with file.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
