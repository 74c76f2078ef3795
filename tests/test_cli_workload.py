"""``ipa-rl workload import`` and ``show``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from ipa_rl.workload.workload import Recorded, WorkloadModel, save_workload
from tests.command_line import fits, ipa_rl


def kept(folder: Path, **described: object) -> Path:
    """An hour of seconds in a folder."""
    folder.mkdir(parents=True)
    counts = np.random.default_rng(0).poisson(20, 3600)
    save_workload(folder, WorkloadModel.model_validate(described), Recorded(counts=counts))
    return folder


@pytest.mark.slow
def test_a_workload_that_is_there_is_replaced_only_where_one_asks_for_it(tmp_path: Path) -> None:
    """Its workload.yaml may hold what a person wrote."""
    kept(tmp_path / "mine", title="An hour of mine", windows={"launch": [[600, 900]]})
    (tmp_path / "counts.txt").write_text("\n".join(["7"] * 600), encoding="utf-8")
    verb = ("workload", "import", "counts.txt", "--interval", "1s", "--out", "mine")
    refused = ipa_rl(*verb, cwd=tmp_path)
    assert refused.returncode == 2
    assert "mine: --out: holds a workload already; fix: give another --out, or --replace" in refused.stderr
    assert "launch" in (tmp_path / "mine" / "workload.yaml").read_text(encoding="utf-8")
    done = ipa_rl(*verb, "--replace", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "launch" not in (tmp_path / "mine" / "workload.yaml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_show_says_in_80_columns_what_a_workload_is_and_writes_page_picture_and_figures(
    tmp_path: Path,
) -> None:
    kept(tmp_path / "mine", title="An hour of mine", gaps=[[600, 660]])
    done = ipa_rl("workload", "show", "mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert fits(done.stdout)
    assert "1, 1.7 % of the time; the longest 1 min at second 600" in done.stdout
    assert "azure-conversations" in done.stdout
    written = {path.name for path in (tmp_path / "runs" / "workload-mine").iterdir()}
    assert written == {"page.html", "picture.png", "data.json"}
    assert "wrote runs/workload-mine/page.html" in done.stderr


@pytest.mark.slow
def test_another_workload_of_that_name_has_a_folder_of_its_own_and_the_same_one_is_shown_again(
    tmp_path: Path,
) -> None:
    for folder in ("one/mine", "other/mine", "one/mine"):
        if not (tmp_path / folder).is_dir():
            kept(tmp_path / folder)
        assert ipa_rl("workload", "show", folder, cwd=tmp_path).returncode == 0
    shown = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert shown == ["workload-mine", "workload-mine-2"]
    data = json.loads((tmp_path / "runs" / "workload-mine" / "data.json").read_text(encoding="utf-8"))
    assert data["folder"] == str(tmp_path / "one" / "mine")


def test_without_what_draws_it_a_workload_is_told_and_its_figures_are_written(tmp_path: Path) -> None:
    kept(tmp_path / "mine")
    with patch.dict("sys.modules", {"plotly": None, "plotly.offline": None}):
        for name in ("page", "workload_page"):
            sys.modules.pop(f"ipa_rl.report.{name}", None)
        done = ipa_rl("workload", "show", "mine", "--json", "--out", "seen", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["workload"] == "mine"
    assert [path.name for path in (tmp_path / "seen").iterdir()] == ["data.json"]
    assert "no page and no picture" in done.stderr


def test_a_workload_that_is_not_there_is_one_line_and_no_folder(tmp_path: Path) -> None:
    done = ipa_rl("workload", "show", "nobody", cwd=tmp_path)
    assert done.returncode == 2
    assert "no such file or name" in done.stderr
    assert "twitter" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "runs").exists()
