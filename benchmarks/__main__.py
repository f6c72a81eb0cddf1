"""``python -m benchmarks [--quick] [--only NAME ...] [--json FILE]``: a table of ratios."""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sys
from pathlib import Path

import numpy as np
import sklearn

GROUPS = ["mixing", "generators", "fitting", "scale", "memory", "sources", "search", "peers"]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows: under two minutes")
    parser.add_argument("--only", nargs="+", choices=GROUPS, default=GROUPS, help="groups to run")
    parser.add_argument(
        "--json", type=Path, default=Path("benchmarks/results/latest.json"), help="where to write results"
    )
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, numpy {np.__version__}, scikit-learn {sklearn.__version__}")
    print("median ratio of pairs [smallest .. largest]\n")
    results = []
    for group in arguments.only:
        for row in importlib.import_module(f"benchmarks.{group}").rows(arguments.quick):
            print(row.text(), flush=True)
            results.append({"group": group, **row.as_dict()})
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(results, indent=1))
    print(f"\nwritten to {arguments.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
