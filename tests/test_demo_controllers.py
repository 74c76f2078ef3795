"""Controllers of the demonstration, as processes and as settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from ipa_rl.agents.opponents import Opponent, untuned
from ipa_rl.agents.opponents_file import write_opponents
from ipa_rl.agents.trained import load_agents
from ipa_rl.demo import core
from ipa_rl.demo.application import Application
from ipa_rl.demo.controllers import Controller, write_settings
from ipa_rl.demo.local_ray import LocalRay
from ipa_rl.demo.settings import DemoSettings
from ipa_rl.environment.definition import Definition
from ipa_rl.environment.definition_file import load_definition
from ipa_rl.live.ray_serve.api import ServeApi
from tests.digits_environment import write_environment
from tests.processes import is_running
from tests.prometheus_server import wait_until


def test_the_program_alone_takes_the_tuned_forecaster(digits: Definition, tmp_path: Path) -> None:
    rest = {"pas_x100": 30.0, "cores": 3.0, "violations": 0.0}
    tuned = [
        Opponent("ip", "last", 0.3, {"utility": 2.0, **rest}),
        Opponent("ip", "window-max:10", 0.0, {"utility": 1.0, **rest}),
    ]
    path = tmp_path / "opponents.json"
    write_opponents(tuned, digits, path)
    (agent,), program = load_agents(digits, "program", path)
    assert agent is program
    assert (program.name, program.margin) == ("ip last", 0.3)


def test_the_settings_of_the_sidecar_name_the_tuned_opponents(tmp_path: Path) -> None:
    from ipa_rl.sidecar.settings import read_settings
    from tests.digits_environment import write_environment

    content = {"environment": write_environment(tmp_path).name, "agent": "program", "opponents": "o.json"}
    path = tmp_path / "sidecar.yaml"
    path.write_text(yaml.safe_dump({**content, "cluster": {"ray_serve": {}}}), encoding="utf-8")
    assert read_settings(path).opponents == tmp_path / "o.json"


@pytest.mark.slow
def test_a_controller_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """However that ends: here it is killed, with nobody left to tell the controller."""
    config = _controller_without_ray(tmp_path)
    starts = "from pathlib import Path; from ipa_rl.demo.controllers import sidecar; import sys, time\n"
    starts += "with sidecar(Path(sys.argv[1])) as one: print(one.process.pid, flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", starts, str(config)], stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        assert is_running(pid)
        starter.kill()
    wait_until(lambda: not is_running(pid), "the controller has ended", 30.0)


def _controller_without_ray(folder: Path) -> Path:
    """Settings of the integer program for a Ray Serve that nobody started: it asks, and waits."""
    settings = DemoSettings(folder)
    write_environment(folder)
    settings.agent.mkdir()
    write_opponents(untuned(), load_definition(settings.environment), settings.agent / "opponents.json")
    (folder / "token").write_text("secret", encoding="utf-8")
    nowhere = LocalRay("http://127.0.0.1:9", "http://127.0.0.1:9/metrics", folder / "token", folder)
    application = Application(nowhere, ServeApi(nowhere.address, nowhere.token_file), 9, core.Core(0.003, {}))
    return write_settings(settings, application, Controller.program, folder, 0.0)
