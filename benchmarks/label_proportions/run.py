"""Evaluate methods on data with known labels: `python benchmarks/label_proportions/run.py paired`.

benchmarks/README.md says what the tracks and the methods are.
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.label_proportions import bars, protocol
from benchmarks.label_proportions.catalogue import METHODS, ONLY
from benchmarks.label_proportions.csv_file import read, write
from benchmarks.label_proportions.records import FIELDS, records
from benchmarks.label_proportions.tables import page
from benchmarks.studies.label_proportions.data import NAMES

RESULTS = Path(__file__).resolve().parents[1] / "results" / "label_proportions"
TITLES = {
    "published": "Label proportions, the published protocol: a tenth held back, whose labels select an epoch",
    "paired": "Label proportions, paired by seed: no label is used for fitting or selection",
    "features": "Label proportions, bags of rows that are equal in some columns, paired by seed",
}


def main(given: Sequence[str] | None = None) -> None:
    """Run what is missing of a table, cell by cell, and write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("track", choices=TITLES, help="published: with validation rows; others: without")
    parser.add_argument("--data", nargs="+", choices=NAMES, default=["adult", "bank_full"])
    parser.add_argument("--sizes", nargs="+", type=int, default=list(protocol.SIZES))
    parser.add_argument(
        "--columns", nargs="+", metavar="COLUMN", help="of the track features: rows that are equal in these are a bag"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the tables")
    options = parser.parse_args(given)
    if (options.track == "features") != bool(options.columns):
        parser.error("--columns are of the track features, which needs them.")
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / f"{options.track}.csv"
    rows = read(file, FIELDS)
    done = {(r["data"], int(r["size"]), int(r["seed"]), r["columns"], r["method"]) for r in rows}
    columns = protocol.JOINED.join(options.columns or ())
    sizes = [0] if columns else options.sizes
    cells = [protocol.Cell(*name, columns) for name in product(options.data, sizes, options.seeds)]
    for cell in cells:
        wanted = [name for name in options.methods if cell.size in ONLY.get(name, (cell.size,))]
        missing = [name for name in wanted if (*cell, name) not in done]
        parts = protocol.split(cell, validation=options.track == "published") if missing else None
        for name in missing:
            assert parts is not None
            rows += [
                {field: str(row.get(field, "")) for field in FIELDS}
                for row in records(cell, parts, name, METHODS[name])
            ]
            write(file, FIELDS, rows)
            print(*cell, name, rows[-1]["auc"], flush=True)
    text = page(rows, TITLES[options.track])
    if options.track == "paired":
        text += f"\n## Bars\n\n{bars.told(rows)}\n"
    file.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
