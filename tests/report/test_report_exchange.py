"""MultiQC's custom content, read by MultiQC itself where it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from report_fixture import build_run

from haplobench.report.model import Summary
from haplobench.report.write import write_report


def test_numbers_stand_beside_the_floor(demo: Summary, tmp_path: Path) -> None:
    paths = write_report(demo.run.folder, tmp_path, ("multiqc",))
    assert len(list(paths)) == 8
    section = json.loads(next(p for p in paths if "chr20-eur-fidelity" in p.name).read_text())
    assert section["plot_type"] == "table"
    column = next(c for c in demo.datasets["chr20-eur"].headline("fidelity"))
    floor = demo.datasets["chr20-eur"].floors[column.key]
    assert section["headers"]["c0"]["title"] == f"{column.title} ↑"
    assert section["data"]["floor"]["c0"] == floor.median
    cell = demo.datasets["chr20-eur"].cell("network", column)
    assert section["data"]["network"]["c0"] == cell.value
    assert section["data"]["broken"] == {}
    verdicts = json.loads(next(p for p in paths if "chr20-eur-verdicts" in p.name).read_text())
    assert verdicts["data"]["network"]["rank"] == 3
    assert verdicts["data"]["theory"]["leak"] == "can't tell"


@pytest.mark.skipif(
    not shutil.which("multiqc"),
    reason="no multiqc: make multiqc",
)
@pytest.mark.slow
def test_multiqc_shows_every_table_and_runs_no_text(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run = build_run(tmp_path / name, hostile=name == "b")
        info = json.loads((run / "run.json").read_text())
        (run / "run.json").write_text(json.dumps(info | {"run_id": f"run-{name}"}))
        write_report(run, tmp_path / "out" / name, ("multiqc",))
    subprocess.run(["multiqc", "--strict", "out"], cwd=tmp_path, check=True, timeout=300)
    data = tmp_path / "multiqc_data"
    tables = [path for path in data.glob("*.txt") if "haplobench" in path.name]
    assert len(tables) == 16
    assert any("network" in path.read_text() for path in tables)
    page = (tmp_path / "multiqc_report.html").read_text()
    assert "‹script›alert(’x’)‹/script› ＆ ”quoted” | pipe" in page
    assert "alert('x')" not in page
