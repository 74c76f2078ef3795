"""JSON as text, turned into values within limits: only finite numbers, nothing nested without limit."""

from __future__ import annotations

import json
import math
from typing import Any

DEEPEST = 50
_LONGEST_NUMBER = 400


def parse(text: str | bytes) -> Any:
    r"""What a text says; half a surrogate pair becomes "?". Raises ValueError, in words.

    >>> parse('{"a": [1, "\\ud800"]}')
    {'a': [1, '?']}
    """
    try:
        whole = text if isinstance(text, str) else text.decode("utf-8")
        content = json.loads(whole, parse_int=_integer, parse_float=_real, parse_constant=_constant)
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON: line {error.lineno}, column {error.colno}; cut off?") from None
    except RecursionError:
        raise ValueError(f"is nested more than {DEEPEST} deep") from None
    _check_depth(content)
    if "\\ud" in whole.lower():
        content = json.loads(json.dumps(content, ensure_ascii=False).encode("utf-8", "replace"))
    return content


def _integer(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"holds a number of {len(text)} digits")
    value = int(text)
    _real(text)
    return value


def _real(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("holds a number that is too large")
    return value


def _constant(text: str) -> float:
    raise ValueError(f"holds {text}, which is not a number in JSON")


def _check_depth(content: Any) -> None:
    level, depth = [content], 0
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        if depth > DEEPEST:
            raise ValueError(f"is nested more than {DEEPEST} deep")
        level = [below for one in level for below in (one.values() if isinstance(one, dict) else one)]


def plain(content: Any) -> Any:
    """As JSON can hold it: keys are texts, NaN and infinity become null.

    >>> plain({1: (float("nan"), 2)})
    {'1': [None, 2]}
    """
    if isinstance(content, dict):
        return {str(key): plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [plain(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
