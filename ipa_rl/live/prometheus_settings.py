"""What is asked of Prometheus: the counters of requests that well-known servers keep, and its settings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from ipa_rl import documents
from ipa_rl.documents import Positive, Url
from ipa_rl.errors import InputError
from ipa_rl.live.prometheus_access import Access, beside, check_access

Label = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
Template = Literal["istio", "seldon", "kserve", "nginx", "ray"]

_DEFAULT_STALE_S = 30.0
SCRAPES = 3
"""Loads are stale after this many missed scrapes."""


@dataclass(frozen=True, slots=True)
class _Counter:
    """A counter of requests: its name, labels that always hold, and those of the name and the namespace."""

    metric: str
    name_label: str
    namespace_label: str
    fixed: Mapping[str, str] = field(default_factory=dict)


TEMPLATES: Mapping[Template, _Counter] = {
    "istio": _Counter(
        "istio_requests_total",
        "destination_workload",
        "destination_workload_namespace",
        {"reporter": "destination"},
    ),
    "seldon": _Counter(
        "seldon_api_executor_server_requests_seconds_count",
        "deployment_name",
        "namespace",
        {"service": "predictions"},
    ),
    "kserve": _Counter("request_preprocess_seconds_count", "model_name", "namespace"),
    "nginx": _Counter("nginx_ingress_controller_requests", "ingress", "exported_namespace"),
    "ray": _Counter("ray_serve_num_router_requests_total", "deployment", "application"),
}
"""Counters by the server that keeps them. Istio's is that of the receiving proxy, so that no request counts
twice; KServe's is taken before the model, so that a request counts when it comes, not when it is answered.
Ray Serve's is that of a deployment's callers, likewise; its application stands for the namespace."""


class PrometheusSettings(Access):
    """Where Prometheus is and what it is asked: exactly one of ``template``, ``counter`` and ``query``.

    ``counter``: selector of counters of requests, once read also that of the ``template``. ``query``: PromQL
    whose value is requests a second. ``queue_query``: PromQL of waiting requests, one series a stage, told
    apart by ``queue_label``. ``timeout_s``: for one answer.
    """

    url: Url
    template: Template | None = None
    name: str = ""
    namespace: str = ""
    labels: dict[Label, str] = Field(default_factory=dict)
    counter: str = ""
    query: str = ""
    queue_query: str = ""
    queue_label: Label = "stage"
    scrape_interval_s: Positive | None = None
    stale_after_s: Positive | None = None
    timeout_s: Positive = 3.0

    def limit_s(self, seen_interval_s: float = math.nan) -> float:
        """Greatest age of the newest sample: as given, else some scrape intervals, 30 s at least where that
        is not given either. ``seen_interval_s``: the time between samples, NaN where it is not known.
        """
        if self.stale_after_s is not None:
            return self.stale_after_s
        if self.scrape_interval_s is not None:
            return SCRAPES * self.scrape_interval_s
        seen_s = 0.0 if math.isnan(seen_interval_s) else SCRAPES * seen_interval_s
        return max(_DEFAULT_STALE_S, seen_s)


def read_settings(
    content: Mapping[str, Any], file: str | Path | None = None, under: str = ""
) -> PrometheusSettings:
    """Check settings that stand in the field ``under`` of a file; paths are relative to its folder.

    Raises InputError.

    >>> read_settings({"url": "http://p:9090", "template": "nginx", "name": "shop"}).counter
    'nginx_ingress_controller_requests{ingress="shop"}'
    """
    given = documents.check(content, PrometheusSettings, "docs/reference/load-sources.md", file, under)
    _check(given, file)
    settings = given if file is None else beside(given, Path(file).parent)
    check_access(settings, file)
    counter = given.counter if given.template is None else _selector(given.template, given)
    return settings.model_copy(update={"url": given.url.rstrip("/"), "counter": counter})


def _check(given: PrometheusSettings, file: str | Path | None) -> None:
    if "@" in urlsplit(given.url).netloc:
        fix = "leave it out, and name it in basic_auth"
        raise InputError("holds a login", file=file, field="load.url", fix=fix)
    ways = [name for name in ("template", "counter", "query") if getattr(given, name)]
    if len(ways) != 1:
        problem = f"has {' and '.join(ways) or 'none'} of template, counter and query"
        raise InputError(problem, file=file, field="load", fix="give exactly one of them")
    if given.template and not given.name:
        label = TEMPLATES[given.template].name_label
        raise InputError("is missing", file=file, field="name", fix=f"give the {label} of {given.template}")
    if not given.template and (given.name or given.namespace or given.labels):
        fix = "write the labels into the counter or the query"
        raise InputError("belongs to a template", file=file, field="name, namespace, labels", fix=fix)
    if "[" in given.counter or "(" in given.counter.split("{")[0]:
        fix = "give a selector, as requests_total{job='router'}; an expression belongs in query"
        raise InputError("is not a selector of counters", file=file, field="counter", fix=fix)


def _selector(template: Template, given: PrometheusSettings) -> str:
    """The counter of a template with the labels that were given."""
    counter = TEMPLATES[template]
    labels = {**counter.fixed, counter.name_label: given.name}
    if given.namespace:
        labels[counter.namespace_label] = given.namespace
    labels.update(given.labels)
    for label, value in labels.items():
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        labels[label] = f'{label}="{escaped}"'
    return f"{counter.metric}{{{','.join(labels.values())}}}"
