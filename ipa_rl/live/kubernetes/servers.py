"""Hot and warm knobs: values that running servers tell and take over HTTP."""

from __future__ import annotations

from collections.abc import Iterable

from ipa_rl.errors import one_line
from ipa_rl.live.calls import Answer, Call, UnansweredError, connections

ANSWER_S = 2.0
"""Seconds for a whole answer; servers are in the same cluster."""

_LARGEST_BYTES = 4096


class Servers:
    """Short requests to the pods of stages; a server that does not answer is tried at the next step."""

    def __init__(self) -> None:
        self._pool = connections(num_pools=32, maxsize=1)

    def told(self, asked: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
        """What servers run with, by template and address, asked at once; without those that do not say."""
        calls = {one: self._call("GET", one[0].format(ip=one[1], value="")) for one in dict.fromkeys(asked)}
        answers = {one: _answered(call) for one, call in calls.items()}
        return {
            one: one_line(answer.text.strip().strip('"'))
            for one, answer in answers.items()
            if isinstance(answer, Answer) and answer.status == 200
        }

    def take(self, template: str, ip: str, value: str) -> str:
        """Let the server at ``ip`` run with another value; why it did not, empty where it did."""
        url = template.format(ip=ip, value=value)
        answer = _answered(self._call("PUT", url))
        if isinstance(answer, UnansweredError):
            return f"PUT {url}: no answer: {answer}"
        return "" if answer.status < 300 else f"PUT {url}: {answer.status}"

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()

    def _call(self, method: str, url: str) -> Call:
        return Call(self._pool, method, url, within_s=ANSWER_S, at_most=_LARGEST_BYTES)


def _answered(call: Call) -> Answer | UnansweredError:
    try:
        return call.answer()
    except UnansweredError as error:
        return error
