"""What an answer of Prometheus' HTTP API must look like, whatever it is that answers."""

from __future__ import annotations

import html
import re
from typing import Any, TypeVar

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from ipa_rl.errors import one_line, shortened

Found = TypeVar("Found")

_LONGEST_SAID = 200
_TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


class NoAnswerError(RuntimeError):
    """Prometheus did not answer, or not with what was asked; the text is the reason, in one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(one_line(reason))


Pair = tuple[float, float]
"""Time and value; the API writes values as text, "NaN" and "+Inf" among them."""

Labels = dict[str, str]


class OneSeries(BaseModel):
    """A series of a matrix: labels, and (time, value) by time. ``histograms``: native ones, no numbers."""

    metric: Labels = {}
    values: list[Pair] = []
    histograms: list[Any] = []


class OneValue(BaseModel):
    """A series of a vector: labels, and (time, value)."""

    metric: Labels
    value: Pair


class _Data(BaseModel):
    kind: str = Field(alias="resultType")
    result: list[Any]


class _Metadata(BaseModel):
    type: str = "unknown"


MATRIX = TypeAdapter(list[OneSeries])
VECTOR = TypeAdapter(list[OneValue])
SCALAR = TypeAdapter(Pair)
DATA = TypeAdapter(_Data)
METADATA = TypeAdapter(dict[str, list[_Metadata]])


def read(adapter: TypeAdapter[Found], content: Any) -> Found:
    """Content of that form. Raises NoAnswerError where it has another."""
    try:
        return adapter.validate_python(content)
    except ValidationError as error:
        raise NoAnswerError("Prometheus answers in an unknown form") from error


def payload(status: int, answer: Any, text: str) -> Any:
    """The data of an answer that is whole: one with warnings may lack some. Raises NoAnswerError.

    ``text``: the same as it came, for what another server than Prometheus says.
    """
    if not isinstance(answer, dict) or answer.get("status") != "success":
        reason = answer.get("error") if isinstance(answer, dict) else None
        raise NoAnswerError(f"Prometheus refuses with HTTP status {status}: {reason or said(text)}")
    warnings = answer.get("warnings") or []
    texts = [str(one) for one in (warnings if isinstance(warnings, list) else [warnings])]
    grave = [one for one in texts if not one.startswith("PromQL info")]
    if grave:
        raise NoAnswerError(f"Prometheus warns that the answer may not be whole: {grave[0]}")
    return answer.get("data")


def said(text: str) -> str:
    """What a body that is no JSON says: the title of a page, else its first line.

    >>> said("<html><head><title>502 Bad\\n Gateway</title>"), said("\\nno org id\\nmore")
    ('502 Bad Gateway', 'no org id')
    """
    title = _TITLE.search(text[:10_000])
    line = html.unescape(title[1]) if title else next((one for one in text.splitlines() if one.strip()), "")
    return shortened(one_line(line), _LONGEST_SAID) or "no reason given"
