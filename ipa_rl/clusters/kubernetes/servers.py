"""Hot and warm knobs: values that running servers tell and take over HTTP."""

from __future__ import annotations

import urllib3

TIMEOUT = urllib3.Timeout(connect=0.5, read=2.0)


class Servers:
    """Short requests to the pods of stages; a server that does not answer is tried at the next step."""

    def __init__(self) -> None:
        self._pool = urllib3.PoolManager(num_pools=32, maxsize=1, retries=False, timeout=TIMEOUT)

    def tell(self, template: str, ip: str) -> str | None:
        """The value that the server at ``ip`` runs with, as text; None where it does not answer."""
        try:
            answer = self._pool.request("GET", template.format(ip=ip, value=""))
        except (urllib3.exceptions.HTTPError, OSError):
            return None
        return answer.data.decode(errors="replace").strip().strip('"') if answer.status == 200 else None

    def take(self, template: str, ip: str, value: str) -> str:
        """Let the server at ``ip`` run with another value; why it did not, empty where it did."""
        url = template.format(ip=ip, value=value)
        try:
            answer = self._pool.request("PUT", url)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return f"PUT {url}: no answer ({type(error).__name__})"
        return "" if answer.status < 300 else f"PUT {url}: {answer.status}"

    def close(self) -> None:
        """Close all connections."""
        self._pool.clear()
