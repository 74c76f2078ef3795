"""All verbs of the command line."""

from __future__ import annotations

from ipa_rl.cli import (
    build,
    compare,
    demo,
    evaluate,
    fidelity,
    forecast,
    learner,
    profile,
    profiles,
    report,
    solve,
    train,
)
from ipa_rl.cli.sidecar_verbs import add_light, new_app

app = new_app()
app.command("solve")(solve.solve)
app.command("compare")(compare.compare)
app.command("evaluate")(evaluate.evaluate)
app.command("report")(report.report)
app.command("fidelity")(fidelity.fidelity)
app.command("train")(train.train)
app.command("build")(build.build)
app.command("search")(learner.search)
app.command("ablate")(learner.ablate)
app.command("tune")(train.tune)
app.command("profile")(profile.profile)
app.command("demo")(demo.demo)
add_light(app)
app.add_typer(forecast.app, name="forecast")
app.add_typer(profiles.app, name="profiles")
