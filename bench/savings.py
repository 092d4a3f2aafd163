"""``savings.json``: the contract that scripts and CI jobs read, derived from the samples alone."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from bench.figures import figures
from bench.samples import FILE_NAME

if TYPE_CHECKING:
    from bench.criteria import Criterion, Verdict
    from bench.samples import Samples

SCHEMA_VERSION = 1
SUITE = "vmreg.savings"


def to_json(samples: Samples, verdict: Verdict, *, sha256: str) -> str:
    """Return the text of ``savings.json``; ``bench/schema/savings.schema.json`` describes it.

    :param sha256: of the samples' file, in hexadecimal.
    """
    document = {
        "schema_version": SCHEMA_VERSION,
        "commit": samples.meta.commit,
        "host": dataclasses.asdict(samples.meta.host),
        "source": {"file": FILE_NAME, "sha256": sha256},
        "criteria": [dataclasses.asdict(criterion) for criterion in verdict.criteria],
        "arms": [dataclasses.asdict(figures(run)) for run in samples.runs],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def to_junit(samples: Samples, verdict: Verdict, *, sha256: str) -> str:
    """Return a JUnit report with one test case for each criterion.

    A criterion that failed is a failure. A skip is reported as skipped, and the exit code of the
    command, not this file, says whether it was allowed.
    """
    counts = {
        status: sum(criterion.status == status for criterion in verdict.criteria)
        for status in ("fail", "skip")
    }
    suite = ET.Element(
        "testsuite",
        name=SUITE,
        tests=str(len(verdict.criteria)),
        failures=str(counts["fail"]),
        errors="0",
        skipped=str(counts["skip"]),
        timestamp=samples.meta.started_at,
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in (("commit", samples.meta.commit), (FILE_NAME, f"sha256:{sha256}")):
        ET.SubElement(properties, "property", name=name, value=value)
    for criterion in verdict.criteria:
        suite.append(_test_case(criterion))
    ET.indent(suite)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(suite, "unicode") + "\n"


def _test_case(criterion: Criterion) -> ET.Element:
    case = ET.Element("testcase", classname=SUITE, name=criterion.id)
    if criterion.status == "fail":
        failure = ET.SubElement(case, "failure", message=criterion.title)
        failure.text = criterion.evidence
    elif criterion.status == "skip":
        ET.SubElement(case, "skipped", message=criterion.evidence)
    else:
        ET.SubElement(case, "system-out").text = criterion.evidence
    return case
