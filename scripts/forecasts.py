"""Errors of the forecasters on every workload that ships, as a Markdown table: SMAPE in %, test part."""

from __future__ import annotations

import argparse

from ipa_rl import resources
from ipa_rl.cli.tables import figure
from ipa_rl.judge.forecasts import NAMES, forecast_errors
from ipa_rl.progress import Bars
from ipa_rl.workload.fit import usual_step_s
from ipa_rl.workload.workload import load_workload


def main() -> None:
    """Print one row a forecaster, one column a workload."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("train", "validation", "test"), default="test")
    part = parser.parse_args().part
    workloads = [load_workload(name) for name in resources.shipped_names("workloads")]
    errors = {}
    with Bars() as bars:
        for workload in workloads:
            rows = forecast_errors(workload, usual_step_s(workload), part, bars)
            errors[workload.name] = {row["forecaster"]: row["smape_pct"] for row in rows}
            workload.forget()
    print(f"| forecaster | {' | '.join(errors)} |")
    print(f"|---{'|---' * len(errors)}|")
    for name in NAMES:
        print(f"| {name} | {' | '.join(figure(found.get(name)) for found in errors.values())} |")


if __name__ == "__main__":
    main()
