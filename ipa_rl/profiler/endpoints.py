"""An HTTP endpoint as a replica: started where there is a command, loaded by closed loops of requests."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np

from ipa_rl.errors import InputError
from ipa_rl.json_text import parse
from ipa_rl.profiler.job import HttpModel, V2Model
from ipa_rl.profiler.processes import end_process, last_line, peak_memory_mb, start_process
from ipa_rl.profiler.replica import Place, Round, Start

if TYPE_CHECKING:
    import aiohttp

_ASKS_EVERY_S = 0.02
_SHOWN = 80
_JSON = {"Content-Type": "application/json"}

LARGEST_ANSWER_BYTES = 64 * 2**20


def _filled(text: str, values: Mapping[str, object], is_url: bool = False) -> str:
    """The text with values in its placeholders; in a URL each is part of a segment: acme%2Fvit-base."""
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", quote(str(value), safe="") if is_url else str(value))
    return text


class EndpointReplica:
    """A server that answers over HTTP; batches are carried by requests, or formed by the server."""

    def __init__(self, place: Place, endpoint: HttpModel | V2Model, saturating: int) -> None:
        """Start it and wait until it is ready. Raises InputError where that fails."""
        self.saturating = saturating
        self._place, self._endpoint = place, endpoint
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))  # a free port
            port = one.getsockname()[1]
        self._values: dict[str, object] = {"variant": place.variant, "cores": place.cores}
        self._values |= {"batch": place.batches[0], "port": port}
        self._requests: dict[int, Request] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._runner = asyncio.Runner()
        self._session = self._runner.run(_session(place.timeout_s))
        try:
            self._start_up_s = self._start()
        except BaseException:
            self.close()
            raise

    def run(self, batch: int, in_flight: int, seconds: float) -> Round:
        """Closed loops that hold ``in_flight`` full batches at the server."""
        if batch not in self._requests:
            self._requests = {batch: self._request(batch)}
        return self._runner.run(self._load(self._requests[batch], batch, in_flight, seconds))

    def started(self) -> Start:
        """Start-up and peak memory of the server's processes, where it was started here."""
        place, process = self._place, self._process
        memory_mb = None if process is None else peak_memory_mb(process.pid)
        return Start(place.stage.name, place.variant, place.cores, self._start_up_s, None, memory_mb)

    def close(self) -> None:
        """Leave the server, and end it where it was started here."""
        self._runner.run(self._session.close())
        self._runner.close()
        if self._process is not None:
            end_process(self._process)

    def _start(self) -> float | None:
        """Seconds from the start of the process until it is ready; None where it ran already."""
        endpoint = self._endpoint
        ready: str | None = None
        if endpoint.ready is not None:
            ready = _filled(endpoint.ready, self._values, is_url=True)
        elif isinstance(endpoint, V2Model):
            root = _filled(endpoint.url, self._values, is_url=True)
            ready = f"{v2_model_url(root, _filled(endpoint.model, self._values))}/ready"
        if not endpoint.command:
            if ready is not None and not self._runner.run(self._is_ready(ready)):
                fix = "start it, correct ready, or give a command"
                raise self._fault(f"{ready} does not answer 200", fix)
            return None
        began_s = time.perf_counter()
        words = [_filled(word, self._values) for word in endpoint.command]
        try:
            self._process = start_process(words, self._place.processors, self._place.folder, self._place.logs)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise self._fault(f"{words[0]} cannot be run: {reason}", "correct command") from error
        self._runner.run(self._wait_ready(ready or _filled(endpoint.url, self._values, is_url=True)))
        return time.perf_counter() - began_s

    async def _wait_ready(self, url: str) -> None:
        end_s = time.monotonic() + self._place.timeout_s
        while not await self._is_ready(url):
            if self._process is not None and self._process.poll() is not None:
                said = last_line(self._place.logs)
                problem = f"command ended with status {self._process.returncode}"
                raise self._fault(f"{problem}, last words: {said}", f"see {self._place.logs}")
            if time.monotonic() > end_s:
                problem = f"{url} did not answer 200 within {self._place.timeout_s:g} s"
                raise self._fault(problem, f"raise measuring.timeout_s, or see {self._place.logs}")
            await asyncio.sleep(_ASKS_EVERY_S)

    async def _is_ready(self, url: str) -> bool:
        import aiohttp

        try:
            async with self._session.get(url) as answer:
                return answer.status == 200
        except aiohttp.InvalidURL as error:
            raise self._fault(f"{url} is not a URL", "begin ready and url with http://") from error
        except (aiohttp.ClientError, TimeoutError):
            return False

    def _request(self, batch: int) -> Request:
        endpoint, place = self._endpoint, self._place
        values = {**self._values, "batch": batch}
        url = _filled(endpoint.url, values, is_url=True)
        if isinstance(endpoint, V2Model):
            return v2_request(endpoint, url, _filled(endpoint.model, values), batch)
        return http_request(endpoint, url, batch, place.folder)

    async def _load(self, request: Request, batch: int, in_flight: int, seconds: float) -> Round:
        """Requests until the time is over and a batch more than is in flight has been answered.

        Throughput is of the items after the first batch over the time since it, so that neither the filling
        of the loops at the beginning nor their draining at the end counts.
        """
        per_batch = batch // request.items
        least = (in_flight + 1) * per_batch
        answered: list[tuple[float, float]] = []
        end_s = time.perf_counter() + seconds

        async def client() -> None:
            while len(answered) < least or time.perf_counter() < end_s:
                before_s = time.perf_counter()
                body = await self._post(request, batch)
                now_s = time.perf_counter()
                if not answered and (problem := request.fault_of(body)):
                    fix = "correct what is sent, or the server"
                    raise self._fault(f"{problem} at batch {batch}", fix)
                answered.append((now_s, now_s - before_s))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(in_flight * per_batch):
                    group.create_task(client())
        except ExceptionGroup as several:
            raise several.exceptions[0] from None
        counted = [one for one in answered if one[0] <= max(end_s, answered[least - 1][0])]
        first_s, last_s = counted[per_batch - 1][0], counted[-1][0]
        throughput_rps = (len(counted) - per_batch) * request.items / (last_s - first_s)
        return Round(tuple(latency_s for _, latency_s in counted), throughput_rps)

    async def _post(self, request: Request, batch: int) -> bytes:
        import aiohttp

        try:
            async with self._session.post(request.url, data=request.body, headers=request.headers) as answer:
                body = await self._whole(answer, batch)
        except TimeoutError:
            problem = f"no answer within {self._place.timeout_s:g} s at batch {batch}"
            raise self._fault(problem, "raise measuring.timeout_s, or lower the batch size") from None
        except (aiohttp.ClientError, ValueError) as error:
            problem = f"{request.url} at batch {batch}: {type(error).__name__} {error}"
            raise self._fault(problem, "check that the server runs, and url") from error
        if answer.status // 100 != 2:
            said = body[:_SHOWN].decode("utf-8", "replace")
            problem = f"{request.url} answered {answer.status} at batch {batch}: {said}"
            raise self._fault(problem, "correct what is sent, or the server")
        return body

    async def _whole(self, answer: aiohttp.ClientResponse, batch: int) -> bytes:
        """The body, refused while it is read where it is too large for any answer."""
        body = bytearray()
        while piece := await answer.content.readany():
            body += piece
            if len(body) > LARGEST_ANSWER_BYTES:
                problem = f"{answer.url} answers with more than {LARGEST_ANSWER_BYTES} bytes at batch {batch}"
                raise self._fault(problem, "correct what is sent, or the server")
        return bytes(body)

    def _fault(self, problem: str, fix: str) -> InputError:
        kind = "v2" if isinstance(self._endpoint, V2Model) else "http"
        return self._place.fault(problem, fix, field=f"target.{kind}")


async def _session(timeout_s: float) -> aiohttp.ClientSession:
    """A client without a limit of connections."""
    import aiohttp

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=timeout_s)
    )


@dataclass(frozen=True)
class Request:
    """One POST that carries so many items. ``answers``: field of the answer with a value or tensor for each.

    None where any answer will do. ``is_v2``: the values are tensors, whose first axis is the batch.
    """

    url: str
    body: bytes
    headers: dict[str, str]
    items: int
    answers: str | None
    is_v2: bool = False

    def fault_of(self, body: bytes) -> str | None:
        """What is wrong with an answer; None where it is one."""
        if self.answers is None:
            return None
        try:
            content = parse(body)
        except ValueError:
            content = None
        values = content.get(self.answers) if isinstance(content, dict) else None
        if not isinstance(values, list) or (self.is_v2 and not values):
            return f"the answer has no list {self.answers}"
        if not self.is_v2:
            told = f"{self.answers} has {len(values)} values for {self.items} items"
            return None if len(values) == self.items else told
        shapes = [one.get("shape") if isinstance(one, dict) else None for one in values]
        odd = [shape for shape in shapes if not isinstance(shape, list) or shape[:1] != [self.items]]
        return f"an output has shape {odd[0]} for {self.items} items" if odd else None


def http_request(model: HttpModel, url: str, batch: int, folder: Path) -> Request:
    """The POST of a plain endpoint: the file or the JSON; a whole batch where ``items`` names its list."""
    if model.body is not None:
        headers = {"Content-Type": "application/octet-stream"} | model.headers
        return Request(url, (folder / model.body).read_bytes(), headers, 1, None)
    content, count = dict(model.json_body or {}), 1
    if model.items is not None:
        content[model.items] = list(itertools.islice(itertools.cycle(content[model.items]), batch))
        count = batch
    return Request(url, json.dumps(content).encode(), _JSON | model.headers, count, model.answers)


def v2_model_url(root: str, name: str) -> str:
    """Where a V2 server has a model: its name is one segment of the path, whatever it holds.

    >>> v2_model_url("http://127.0.0.1:8000/", "acme/vit-base")
    'http://127.0.0.1:8000/v2/models/acme%2Fvit-base'
    """
    return f"{root.rstrip('/')}/v2/models/{quote(name, safe='')}"


def v2_request(model: V2Model, url: str, name: str, batch: int) -> Request:
    """The inference request of the V2 protocol for the model of that name."""
    count = batch if model.batching == "client" else 1
    inputs = []
    for one in model.inputs:
        shape = [count, *one.shape]
        data = list(one.data) * count if one.data is not None else _random(one.datatype, shape)
        inputs.append({"name": one.name, "shape": shape, "datatype": one.datatype, "data": data})
    body = json.dumps({"inputs": inputs}).encode()
    return Request(f"{v2_model_url(url, name)}/infer", body, _JSON, count, "outputs", is_v2=True)


def _random(datatype: str, shape: list[int]) -> list[Any]:
    """Flat random elements, the same each time."""
    rng = np.random.default_rng(0)
    count = math.prod(shape)
    if datatype.startswith("FP"):
        return [round(value, 6) for value in rng.random(count).tolist()]
    if datatype == "BOOL":
        return [value < 0.5 for value in rng.random(count).tolist()]
    return list(rng.integers(0, 128, count).tolist())
