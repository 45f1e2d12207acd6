"""Finding: what the linter reports: a code, a level, the place, what was found and what to do.

Law: a finding of level "error" says that an inference cannot be right as the program stands; a warning says that it may
not be what was meant.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...addresses import Address, show_address
from ...messages import Source


@dataclass(frozen=True)
class LintFinding:
    """One finding: its code, its level ("error" or "warning"), the place, what was found and what to do."""

    code: str
    level: str
    site: Address
    source: Source
    found: str
    remedy: str

    def __str__(self) -> str:
        """Write it on one line."""
        place = f" ({self.source})" if self.source.line else ""
        where = f"site '{show_address(self.site)}'{place}" if self.site else f"program{place}"
        return f"{self.level} {self.code}: {where}: {self.found} Fix: {self.remedy}"
