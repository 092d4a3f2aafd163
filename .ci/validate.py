"""Judge a benchmark's JSON: ``python .ci/validate.py reports/latest/savings.json``.

Exit status 0: it keeps to its schema and every criterion passed; 1: it breaks the schema; 6: a
criterion failed or was skipped.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import jsonschema

SCHEMAS = Path(__file__).resolve().parents[1] / "bench/schema"
BROKEN, MISSED = 1, 6


def main(path: Path) -> int:
    """Print one line for each criterion and return the exit status."""
    report = json.loads(path.read_text())
    schema = json.loads((SCHEMAS / f"{path.stem}.schema.json").read_text())
    try:
        jsonschema.validate(report, schema)
    except jsonschema.ValidationError as error:
        print(f"{path} breaks its schema at {error.json_path}: {error.message}", file=sys.stderr)
        return BROKEN
    for one in report["criteria"]:
        figures = f"{one['measured']} against {one['threshold']} {one['unit']}"
        print(f"{one['status']:4} {one['id']}: {figures}")
    return 0 if all(one["status"] == "pass" for one in report["criteria"]) else MISSED


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
