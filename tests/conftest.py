"""Settings of all specifications, and the one fixture of a real cluster."""

import gc
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from kubernetes.client import ApiClient

    from ipa_rl.environment.definition import Definition
    from ipa_rl.workload.workload import Window
    from tests.kubernetes_objects import Namespace

settings.register_profile("project", max_examples=50, deadline=None, print_blob=True)
settings.register_profile("quick", settings.get_profile("project"), max_examples=15)
settings.load_profile("project")

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command does: matrices are small

# A shell has what runs in the background ignore Ctrl-C; every process started from here would ignore it too.
signal.signal(signal.SIGINT, signal.default_int_handler)


SLOW_FIXTURES = {"kubernetes_api", "browser", "prometheus"}
"""What takes a cluster, a browser or a Prometheus makes a specification slow."""

LONGEST = ("test_jit_bounds", "test_sidecar_cluster", "test_cli", "test_example_kubernetes")
"""Files that take over a minute each. `test_package` does too, but takes what others compile first."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported stays to the end: to look for garbage in it takes each process seconds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is not slow is quick; files with slow ones begin first, the longest before all.

    So all workers end together.
    """
    begin_first = set()
    for item in items:
        is_slow = item.get_closest_marker("slow") or SLOW_FIXTURES & set(getattr(item, "fixturenames", ()))
        item.add_marker("slow" if is_slow else "quick")
        if is_slow:
            begin_first.add(item.path)
    items.sort(key=lambda item: (item.path.stem not in LONGEST, item.path not in begin_first))


@pytest.fixture(scope="session")
def kubernetes_api() -> "Iterator[ApiClient]":
    """A client of the cluster that KUBECONFIG names."""
    if "KUBECONFIG" not in os.environ:
        pytest.skip("KUBECONFIG is not set: it names the cluster to test on")
    from ipa_rl.live.kubernetes import connect

    client = connect()
    yield client
    client.rest_client.pool_manager.clear()


@pytest.fixture(scope="session")
def custom_kinds(kubernetes_api: "ApiClient") -> None:
    """The kinds of `tests/crds`, installed."""
    from tests.kubernetes_objects import install_kinds

    install_kinds(kubernetes_api, Path(__file__).parent / "crds")


@pytest.fixture(scope="session")
def video() -> "Definition":
    """The shipped environment of the video pipeline."""
    from ipa_rl.environment.definition_file import load_definition

    return load_definition("video")


@pytest.fixture(scope="session")
def bursty() -> "Window":
    """The paper's bursty window."""
    from ipa_rl.workload.steps import HISTORY_STEPS
    from ipa_rl.workload.workload import load_workload

    return load_workload("twitter").named_window("bursty", HISTORY_STEPS)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> "Definition":
    """The environment of the digits pipeline."""
    from tests.digits_environment import digits_definition

    return digits_definition(tmp_path_factory.mktemp("environment"))


@pytest.fixture
def short_stress(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three scenarios of the stress suite, each of which ends soon after what it is named for has begun."""
    from ipa_rl.judge import stress

    monkeypatch.setattr(stress, "SUITE", stress.SUITE[:3])
    monkeypatch.setattr(stress, "LENGTH", stress.BEGINS + 120)


@pytest.fixture
def namespace(kubernetes_api: "ApiClient") -> "Iterator[Namespace]":
    """A namespace of the test's own, deleted after it."""
    from tests.kubernetes_objects import new_namespace

    with new_namespace(kubernetes_api) as own:
        yield own


@pytest.fixture
def other_namespace(kubernetes_api: "ApiClient") -> "Iterator[Namespace]":
    """Another one."""
    from tests.kubernetes_objects import new_namespace

    with new_namespace(kubernetes_api) as own:
        yield own


@pytest.fixture
def node(kubernetes_api: "ApiClient") -> str:
    """The name of a node that runs pods; skipped where the cluster has none."""
    from tests.kubernetes_objects import ready_node

    name = ready_node(kubernetes_api)
    if name is None:
        pytest.skip("the cluster has no node that runs pods")
    return name


@pytest.fixture
def devices(kubernetes_api: "ApiClient", node: str) -> "Iterator[str]":
    """The node, which has four devices, as a device plugin would say, and a label that selects it."""
    from tests.kubernetes_objects import DEVICE, send

    path, strategic = f"/api/v1/nodes/{node}", "application/strategic-merge-patch+json"

    def say(count: str | None, label: str | None) -> None:
        amounts = {DEVICE: count}
        status = {"status": {"capacity": amounts, "allocatable": amounts}}
        send(kubernetes_api, "PATCH", f"{path}/status", status, strategic)
        send(kubernetes_api, "PATCH", path, {"metadata": {"labels": {"accelerator": label}}}, strategic)

    say("4", "l4")
    yield node
    say(None, None)
