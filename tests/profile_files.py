"""A pipeline's folder of one stage, whole or with a fault."""

from __future__ import annotations

from pathlib import Path

from ipa_rl.profiles.points import COLUMNS

PIPELINES = ("video", "audio-qa", "audio-sent", "sum-qa", "nlp")
HEADER = ",".join(COLUMNS)
GOOD = """\
small,1,1,20,0.1,0.12,10,measured,,bench,
small,1,4,20,0.36,0.4,11,measured,,bench,
small,2,1,40,0.06,0.07,16,measured,,bench,
"""
DESCRIPTION = """\
threshold_rps: 4
batches: [1, 4]
stages:
- name: detect
  stage_sla_s: 5
  variants:
  - {name: small, accuracy: 0.5, start_up_s: 9}
"""


def write(folder: Path, csv: str | bytes = f"{HEADER}\n{GOOD}", yaml: str = DESCRIPTION) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "pipeline.yaml").write_text(yaml, encoding="utf-8")
    data = csv if isinstance(csv, bytes) else csv.encode("utf-8")
    (folder / "detect.csv").write_bytes(data)
    return folder


def line(**changes: str) -> str:
    fields = dict(zip(COLUMNS, GOOD.splitlines()[0].split(","), strict=True)) | changes
    return ",".join(fields[column] for column in COLUMNS) + "\n"
