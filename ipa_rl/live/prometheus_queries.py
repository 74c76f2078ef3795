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
from ipa_rl.live.prometheus_access import Access, AccessModel, access_of

Label = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
Template = Literal["istio", "seldon", "kserve", "nginx", "ray"]

_DEFAULT_STALE_S = 30.0
SCRAPES = 3
"""Loads are stale after so many scrapes that did not come."""


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


class PrometheusModel(AccessModel):
    """Settings as they stand in a file; exactly one of ``template``, ``counter`` and ``query``."""

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


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    """Where Prometheus is and what it is asked.

    ``counter``: selector of counters of requests; where it is empty, ``query``: PromQL whose value is
    requests a second. ``queue_query``: PromQL of waiting requests, one series a stage, told apart by
    ``queue_label``. ``stale_after_s``, ``scrape_interval_s``: as given, None where they are not.
    ``timeout_s``: for one answer. ``access``: how the server lets us in.
    """

    url: str
    counter: str = ""
    query: str = ""
    queue_query: str = ""
    queue_label: str = "stage"
    stale_after_s: float | None = None
    scrape_interval_s: float | None = None
    timeout_s: float = 3.0
    access: Access = field(default_factory=Access)

    @property
    def usual(self) -> bool:
        """Whether nothing is said of how old a sample may be."""
        return self.stale_after_s is None and self.scrape_interval_s is None

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
    """Check settings that stand in the field ``under`` of a file. Raises InputError.

    >>> read_settings({"url": "http://p:9090", "template": "nginx", "name": "shop"}).counter
    'nginx_ingress_controller_requests{ingress="shop"}'
    """
    return settings_of(
        documents.check(content, PrometheusModel, "docs/reference/load-sources.md", file, under), file
    )


def settings_of(model: PrometheusModel, file: str | Path | None = None) -> PrometheusSettings:
    """The settings of a model that is part of a larger file. Raises InputError."""
    _check(model, file)
    return PrometheusSettings(
        url=model.url.rstrip("/"),
        counter=model.counter if model.template is None else _from_template(model.template, model),
        query=model.query,
        queue_query=model.queue_query,
        queue_label=model.queue_label,
        stale_after_s=model.stale_after_s,
        scrape_interval_s=model.scrape_interval_s,
        timeout_s=model.timeout_s,
        access=access_of(model, file),
    )


def _check(model: PrometheusModel, file: str | Path | None) -> None:
    if "@" in urlsplit(model.url).netloc:
        fix = "leave it out, and name it in basic_auth"
        raise InputError("holds a login", file=file, field="load.url", fix=fix)
    given = [name for name in ("template", "counter", "query") if getattr(model, name)]
    if len(given) != 1:
        problem = f"has {' and '.join(given) or 'none'} of template, counter and query"
        raise InputError(problem, file=file, field="load", fix="give exactly one of them")
    if model.template and not model.name:
        label = TEMPLATES[model.template].name_label
        raise InputError("is missing", file=file, field="name", fix=f"give the {label} of {model.template}")
    if not model.template and (model.name or model.namespace or model.labels):
        fix = "write the labels into the counter or the query"
        raise InputError("belongs to a template", file=file, field="name, namespace, labels", fix=fix)
    if "[" in model.counter or "(" in model.counter.split("{")[0]:
        fix = "give a selector, as requests_total{job='router'}; an expression belongs into query"
        raise InputError("is no selector of counters", file=file, field="counter", fix=fix)


def _from_template(template: Template, model: PrometheusModel) -> str:
    counter = TEMPLATES[template]
    labels = {**counter.fixed, counter.name_label: model.name}
    if model.namespace:
        labels[counter.namespace_label] = model.namespace
    labels.update(model.labels)
    return f"{counter.metric}{{{','.join(f'{k}={_quoted(v)}' for k, v in labels.items())}}}"


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
