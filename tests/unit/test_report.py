from __future__ import annotations

import dataclasses
import json
import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import jsonschema
import pytest

import bench
from bench import report, samples
from tests.unit import fabricate
from vmreg.errors import HostError, UsageError

if TYPE_CHECKING:
    from bench.criteria import Verdict

SCHEMA = Path(bench.__file__).parent / "schema" / "savings.schema.json"
CHARTS = ("first-byte", "pull-time", "upstream-bytes")
FILES = {
    "junit.xml",
    "samples.json",
    "savings.html",
    "savings.json",
    "savings.md",
    *(f"{name}.{kind}" for name in CHARTS for kind in ("svg", "png")),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rendered run of ten VMs; tests only read it."""
    made = tmp_path_factory.mktemp("reports") / "run"
    samples.write(made, fabricate.samples())
    report.render_all(made)
    return made


def render(tmp_path: Path, taken: samples.Samples) -> tuple[Path, Verdict]:
    made = tmp_path / "run"
    samples.write(made, taken)
    return made, report.render_all(made)


def contents(made: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in made.iterdir()}


def test_a_run_has_every_file_and_no_other(folder: Path) -> None:
    assert set(contents(folder)) == FILES


def test_rendering_again_gives_the_same_bytes(folder: Path) -> None:
    before = contents(folder)
    for name in FILES - {"samples.json"}:
        (folder / name).unlink()
    report.render_all(folder)
    assert contents(folder) == before


def test_savings_keep_the_contract(folder: Path) -> None:
    document = json.loads((folder / "savings.json").read_text())
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert len({criterion["id"] for criterion in document["criteria"]}) == 8
    vmreg = next(arm for arm in document["arms"] if arm["arm"] == "vmreg")
    assert vmreg["upstream_bytes"] == vmreg["unique_bytes"] == fabricate.UNIQUE_BYTES
    assert len(vmreg["pull_s"]) == vmreg["vms"] == 10


def test_skips_and_uncounted_requests_keep_the_contract_too(tmp_path: Path) -> None:
    run = dataclasses.replace(fabricate.run("direct", vms=1), counted_by="network", requests=())
    made, verdict = render(tmp_path, fabricate.samples(run))
    document = json.loads((made / "savings.json").read_text())
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    assert document["arms"][0]["quota_requests"] is None
    assert [c["status"] for c in document["criteria"]].count("skip") == 7
    assert verdict.exit_code == 6


def test_the_schema_refuses_a_measured_skip_and_an_unknown_key(folder: Path) -> None:
    schema = json.loads(SCHEMA.read_text())
    document = json.loads((folder / "savings.json").read_text())
    document["criteria"][0]["status"] = "skip"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)
    document["criteria"][0]["measured"] = None
    jsonschema.validate(document, schema)
    document["arms"][0]["saved"] = 1
    with pytest.raises(jsonschema.ValidationError, match="saved"):
        jsonschema.validate(document, schema)


def test_the_page_needs_nothing_from_elsewhere(folder: Path) -> None:
    page = (folder / "savings.html").read_text()
    without_names = re.sub(
        r'xmlns(:\w+)?="[^"]*"', "", page
    )  # names of vocabularies, never fetched
    assert "://" not in without_names
    references = re.findall(r'(?:href|src|action)="([^"]*)"', without_names)
    assert references
    assert all(reference.startswith("#") for reference in references)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
    assert not re.search(r"<(script|link|iframe|img|object|embed)\b|@import", page)


def test_the_page_has_criteria_first_then_charts_then_figures(folder: Path) -> None:
    page = (folder / "savings.html").read_text()
    places = [page.index(f"<h2>{name}</h2>") for name in ("Criteria", "Charts", "Runs")]
    assert places == sorted(places)
    assert page.count("<svg") == len(CHARTS)
    assert page.count('<span class="badge pass">passed</span>') == 8
    assert "90.0 %" in page


def test_every_report_names_its_input(folder: Path) -> None:
    _, sha256 = samples.read(folder / "samples.json")
    for name in ("savings.json", "savings.html", "savings.md", "junit.xml"):
        text = (folder / name).read_text()
        assert sha256 in text, name
        assert "samples.json" in text, name


def test_charts_are_whole_images_that_do_not_share_ids(folder: Path) -> None:
    clips: list[set[str]] = []
    for name in CHARTS:
        root = ET.fromstring((folder / f"{name}.svg").read_bytes())  # noqa: S314 - our own file
        assert root.tag.endswith("svg")
        clips.append({node.attrib["id"] for node in root.iter() if node.tag.endswith("clipPath")})
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert all(clips)
    assert len(set().union(*clips)) == sum(map(len, clips))


def test_the_names_in_the_samples_cannot_write_html(tmp_path: Path) -> None:
    taken = fabricate.samples(fabricate.run(vms=1))
    hostile = dataclasses.replace(taken.meta, image="<script>x</script>|y")
    made, _ = render(tmp_path, dataclasses.replace(taken, meta=hostile))
    page = (made / "savings.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "| Image | <script>x</script>\\|y at scale 1 |" in (made / "savings.md").read_text()


def test_without_first_bytes_there_is_no_chart_of_them(tmp_path: Path) -> None:
    made, _ = render(tmp_path, fabricate.samples(fabricate.run("registry2", "concurrent", 2)))
    assert not (made / "first-byte.svg").exists()
    assert (made / "savings.html").read_text().count("<svg") == 2


def test_junit_tells_failures_from_skips(tmp_path: Path) -> None:
    run = fabricate.run(vms=2)
    run = dataclasses.replace(run, egress_bytes=1)
    made, verdict = render(tmp_path, fabricate.samples(run))
    suite = ET.fromstring((made / "junit.xml").read_bytes())  # noqa: S314 - our own file
    cases = {case.attrib["name"]: case for case in suite.iter("testcase")}
    assert set(cases) == {criterion.id for criterion in verdict.criteria}
    assert suite.attrib["tests"] == "8"
    failure = cases["nothing-silent"].find("failure")
    assert failure is not None
    assert "the egress received 1 B" in (failure.text or "")
    assert suite.attrib["failures"] == "1"
    assert cases["hub-bytes-saved"].find("skipped") is not None
    assert suite.attrib["skipped"] == str(len(suite.findall(".//skipped"))) == "5"
    assert cases["digests-match"].find("failure") is None


def test_the_text_report_says_failed_and_skipped_in_words(tmp_path: Path) -> None:
    run = dataclasses.replace(fabricate.run(vms=2), egress_bytes=1)
    made, verdict = render(tmp_path, fabricate.samples(run))
    text = (made / "savings.md").read_text()
    assert f"**{verdict.summary}**" in text
    assert "| FAILED | 1 findings | 0 findings |" in text
    assert "| skipped | – | 80.0 % |" in text  # noqa: RUF001 - the dash is meant
    assert '<div class="verdict">' in (made / "savings.html").read_text()


def test_samples_that_are_not_there_are_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"samples\.json"):
        report.render_all(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_publishing_moves_latest_and_tells_the_job(tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    for name in ("first", "second"):
        samples.write(tmp_path / name, fabricate.samples(fabricate.run(vms=1)))
        report.publish(tmp_path / name, environment={"GITHUB_STEP_SUMMARY": str(summary)})
        assert (tmp_path / "latest").readlink() == Path(name)
    text = summary.read_text()
    assert text.startswith("before\n# What the cache saves\n")
    assert text.count("# What the cache saves\n") == 2
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second", "latest", "summary.md"}


def test_rendering_an_old_run_again_leaves_latest_alone(tmp_path: Path) -> None:
    for name in ("old", "new"):
        samples.write(tmp_path / name, fabricate.samples(fabricate.run(vms=1)))
    report.publish(tmp_path / "new", environment={})
    report.render_all(tmp_path / "old")
    assert (tmp_path / "latest").resolve().name == "new"


def test_something_else_that_is_called_latest_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "run").mkdir()
    with pytest.raises(HostError, match="is not a link"):
        report.point_latest(tmp_path / "run")
    assert not (tmp_path / "latest").is_symlink()


def test_runs_of_one_second_get_folders_of_their_own(tmp_path: Path) -> None:
    start = datetime.fromisoformat("2026-11-24T12:00:00+02:00")
    made = [report.new_folder(tmp_path / "reports", started_at=start).name for _ in range(3)]
    assert made == [
        "20261124T100000Z-savings",
        "20261124T100000Z-savings-2",
        "20261124T100000Z-savings-3",
    ]


def test_a_place_where_no_folder_can_be_is_a_host_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    start = datetime.fromisoformat("2026-11-24T10:00:00+00:00")
    with pytest.raises(HostError, match="cannot make"):
        report.new_folder(tmp_path / "file", started_at=start)
