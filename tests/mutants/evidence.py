"""Evidence: what an expensive run found, as numbers in a file, with a fingerprint of the code that it was run on.

Law: evidence speaks for the code whose fingerprint it carries, and for no other.
"""

import hashlib
import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from tokenize import COMMENT, DEDENT, ENCODING, INDENT, NEWLINE, NL, STRING, TokenInfo, tokenize
from typing import Any

from lawful.inference.check.statistics.report import environment
from tests.mutants.registry import MUTANTS, Outcome
from tests.mutants.table import last_line

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docs" / "evidence" / "mutants.json"
INVOLVED = ("ppl", "inference", "tests/mutants")


def fingerprint(root: Path = ROOT) -> str:
    """Hash the sources of the library and of the mutants, without comments, docstrings and empty lines."""
    digest = hashlib.sha256()
    for folder in INVOLVED:
        for file in sorted((root / folder).rglob("*.py")):
            digest.update(repr((str(file.relative_to(root)), statements(file.read_bytes()))).encode())
    return digest.hexdigest()


def statements(source: bytes) -> list[str]:
    """Give the tokens of a source that say what it does; a string that is a whole statement says nothing."""
    kept: list[TokenInfo] = []
    for token in tokenize(BytesIO(source).readline):
        if token.type == NEWLINE and kept[-1].type == STRING and kept[-2].type in (ENCODING, NEWLINE, INDENT, DEDENT):
            kept.pop()
        elif token.type not in (COMMENT, NL):
            kept.append(token)
    return [token.string for token in kept]


def evidence(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Put what a run found beside what it was run on."""
    planted = {mutant.id: mutant.description for mutant in MUTANTS}
    return {
        "summary": last_line(outcomes)[0],
        "fingerprint": fingerprint(),
        "environment": environment(),
        "outcomes": [{"fault": planted.get(o.id, "none"), **o.record()} for o in outcomes],
    }


def write(outcomes: Sequence[Outcome], file: Path) -> None:
    """Write the evidence, numbers only."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(evidence(outcomes), indent=1, allow_nan=False) + "\n")


def is_fresh(file: Path = FILE) -> bool:
    """Tell whether a file speaks for the code as it is."""
    return bool(json.loads(file.read_text())["fingerprint"] == fingerprint())
