"""Broken files out of whole ones: bytes changed, values swapped, numbers and texts at their extremes."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any

import numpy as np
import yaml

Mutation = Callable[[bytes, Random], bytes]

TEXTS = (
    "", " ", "x" * 5000, "two\nlines", "\x1b[31m", "\u202e", "🦊", "é", "null", "1e400", "-", "../..", "a/b",
    "/dev/zero", "/dev/null", "%s{0}", "[bold]", ":x:", "<!--<script>", "'", '"', "=1+1", "x" * 300, "\ud800",
    "\0", "video", "program", "99:99", "perfect:20", "lstm", "quantile:90@25", "window-max:" + "9" * 30,
)  # fmt: skip
NUMBERS = (
    0, -1, 1, 2, 3, 0.5, -0.0, 1e-308, 5e-324, 1e-9, 1e9, 1e15, 1e300, 1.7e308, -1e300, 2**31, 2**53, 2**63,
    2**64, 10**30, 10**400, 10**4999, float("nan"), float("inf"), float("-inf"), 9999, 1_000_000,
)  # fmt: skip
TOKENS = (
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\n", b"\t", b"nan", b"inf", b"-1", b"1e999",
    b"{", b"}", b"[", b"]", b": ", b"- ", b"&a ", b"*a", b"<<: *a\n", b"!!python/object:x ", b"!!binary ",
    b"!!set ", b"!!int x", b"2024-13-45", b'"\\UFFFFFFFF"', b"\\ud800", b"%TAG", b"---\n", b"? ", b"|\n",
    b">\n", b"1" * 5000, b"[" * 2000, b"{a: " * 500, b"'" + b"x" * 140_000 + b"'", b"{a: 1, a: 2}",
    b"12:30:45", b"0x" + b"f" * 400, b"yes", b"~",
)  # fmt: skip
FACTORS = (0.001, 0.1, 2, 3, 10, 1000, 1e6, 1e12)
TYPES = ("f2", "f4", "f8", "i8", "u1", "?", "c8", ">f4")
SHAPES = ((-1,), (1, -1), (-1, 1), (1, 1, -1))
REALS = (np.nan, np.inf, -np.inf, 1e30, -1e30, 1e-45, 0.0)
COUNTS = (-1, 0, 1, 9999, 2**31, 2**62, -(2**62))


def _bomb() -> bytes:
    lines = ["zz0: &zz0 {k: [x, x]}"]
    for k in range(1, 9):
        lines.append(f"zz{k}: &zz{k} {{<<: *zz{k - 1}, k: [{', '.join([f'*zz{k - 1}'] * 9)}]}}")
    return "\n".join(lines).encode()


def in_bytes(content: bytes, rng: Random) -> bytes:
    """Some bytes flipped, cut, doubled, moved or put in."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        at = rng.randrange(len(changed) + 1)
        end = min(len(changed), at + rng.choice((1, 2, 8, 64, 4096)))
        match rng.randrange(6):
            case 0 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at:end] = b""
            case 2:
                changed[at:at] = changed[at:end] * rng.choice((1, 2, 50))
            case 3:
                changed[at:at] = rng.choice(TOKENS)
            case 4:
                changed[at:end] = bytes(rng.randrange(256) for _ in range(end - at))
            case _:
                changed = changed[:at] if rng.random() < 0.3 else changed
    return bytes(changed)


def in_lines(content: bytes, rng: Random) -> bytes:
    """Lines left out, doubled, swapped, or with another number in them."""
    lines = content.split(b"\n")
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(lines))
        match rng.randrange(5):
            case 0:
                del lines[at : at + rng.choice((1, 1, 5))]
            case 1:
                lines[at:at] = [lines[at]] * rng.choice((1, 1, 100))
            case 2:
                other = rng.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                lines[at] = rng.choice(TOKENS)
            case _:
                number = _written(rng.choice(NUMBERS)).encode()
                lines[at] = re.sub(rb"-?\d+(\.\d+)?(e-?\d+)?", lambda _: number, lines[at], count=1)  # noqa: B023
        lines = lines or [b""]
    return b"\n".join(lines)


def in_yaml(content: bytes, rng: Random) -> bytes:
    """Values of the parsed file swapped, and the whole written again; or a bomb of aliases at its end."""
    if rng.random() < 0.03:
        return content + b"\n" + _bomb() + b"\n"
    tree = in_tree(yaml.safe_load(content), rng)
    with suppress(yaml.YAMLError, RecursionError, ValueError):  # a value that YAML cannot write
        text: str = yaml.safe_dump(tree, allow_unicode=rng.random() < 0.5, sort_keys=False)
        return text.encode("utf-8", "surrogatepass")
    return in_bytes(content, rng)


def in_json(content: bytes, rng: Random) -> bytes:
    """Values of the parsed file swapped, and the whole written again."""
    return _json(in_tree(json.loads(content), rng), rng)


def in_json_lines(content: bytes, rng: Random) -> bytes:
    """Values in a few of the lines."""
    lines = content.strip().split(b"\n")
    for _ in range(rng.choice((1, 1, 3))):
        at = rng.randrange(len(lines))
        lines[at] = _json(in_tree(json.loads(lines[at]), rng), rng) if lines[at][:1] == b"{" else lines[at]
    return b"\n".join(lines) + b"\n"


def in_csv(content: bytes, rng: Random) -> bytes:
    """Cells, rows and columns."""
    rows = list(csv.reader(io.StringIO(content.decode())))
    for _ in range(rng.choice((1, 1, 2, 8))):
        row = rng.choice(rows)
        if not row:
            continue
        at = rng.randrange(len(row))
        match rng.randrange(6):
            case 0:
                row[at] = rng.choice(TEXTS)
            case 1:
                row[at] = _written(rng.choice(NUMBERS))
            case 2:
                del row[at]
            case 3:
                rows[rng.randrange(len(rows)) :] = [row] * rng.choice((1, 2, 300))
            case 4:
                other = rng.choice(rows)
                row[at], other[:1] = (other or [""])[0], [row[at]]
            case _:
                row[at] = row[rng.randrange(len(row))]
    text = io.StringIO()
    csv.writer(text, delimiter=rng.choice(",,,;\t")).writerows(rows)
    return text.getvalue().encode("utf-8", "surrogatepass")


def in_arrays(content: bytes, rng: Random) -> bytes:
    """Arrays of another type, shape, order or name, with other numbers, or with another header."""
    with np.load(io.BytesIO(content)) as file:
        arrays = dict(file)
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(list(arrays))
        arrays[name] = _array(arrays[name], rng)
        match rng.randrange(12):
            case 0:
                del arrays[name]
            case 1:
                arrays[rng.choice(("x", "weight_9", "sizes", "coefficients", "../up"))] = arrays.pop(name)
            case 2:
                arrays[name] = rng.choice(list(arrays.values()))
        if not arrays:
            return b""
    entries = {name: _npy(array) for name, array in arrays.items()}
    if rng.random() < 0.3:
        name = rng.choice(list(entries))
        entries[name] = _other_npy(entries[name], rng)
    file = io.BytesIO()
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, raw in entries.items():
            archive.writestr(f"{name}.npy", raw)
    return file.getvalue()


def in_tree(tree: Any, rng: Random) -> Any:
    """A few of the values of lists and mappings replaced, left out, doubled, renamed or nested."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = _places(tree)
        if not places:
            return _value(rng)
        holder, key = rng.choice(places)
        match rng.randrange(12):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, list):
                holder[key:key] = [holder[key]] * rng.choice((1, 2, 1000))
            case 1:
                holder[rng.choice((*TEXTS, *map(str, holder), 1, True, None))] = holder.pop(key)
            case 2:
                other, there = rng.choice(places)
                with suppress(KeyError, IndexError):
                    holder[key] = json.loads(json.dumps(other[there], default=str))
            case 3:
                for _ in range(rng.choice((1, 20, 60, 200))):
                    holder[key] = [holder[key]] if rng.random() < 0.5 else {"a": holder[key]}
            case 4 | 5 | 6 | 7 | 8 if isinstance(holder[key], int | float):
                with suppress(OverflowError, ValueError):
                    holder[key] = type(holder[key])(holder[key] * rng.choice(FACTORS))
            case 4 | 5 | 6 if isinstance(holder[key], str):
                holder[key] = rng.choice([one[there] for one, there in places if isinstance(one[there], str)])
            case _:
                holder[key] = _value(rng)
    return tree


def _places(tree: Any) -> list[tuple[Any, Any]]:
    found, waiting = [], [tree]
    while waiting:
        one = waiting.pop()
        keys: Sequence[Any] = (
            list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else ()
        )
        found += [(one, key) for key in keys]
        waiting += [one[key] for key in keys]
    return found


def _value(rng: Random) -> Any:
    simple: tuple[Any, ...] = (None, True, False, [], {}, [[]], {"a": 1}, ["a", "b"], [1, 2, 4])
    return rng.choice((rng.choice(TEXTS), rng.choice(NUMBERS), rng.choice(simple)))


def _written(value: int | float) -> str:
    return "1" + "0" * 4999 if value == 10**4999 else str(value)


def _json(tree: Any, rng: Random) -> bytes:
    with suppress(ValueError):  # an integer that Python does not write
        return json.dumps(tree, ensure_ascii=rng.random() < 0.5, default=str).encode("utf-8", "surrogatepass")
    return b"[" + b"1" * 5000 + b"]"


def _array(array: Any, rng: Random) -> Any:
    numeric = array.dtype.kind in "fi"
    kind = rng.randrange(8)
    if kind == 0 and numeric:
        with np.errstate(all="ignore"):
            return array.astype(rng.choice(TYPES))
    if kind in (1, 4, 5) and numeric and array.size:
        changed = array.copy()
        with np.errstate(all="ignore"):
            changed.flat[rng.randrange(array.size)] = rng.choice(REALS if array.dtype.kind == "f" else COUNTS)
        return changed
    if kind == 2 and array.ndim:
        return array[: rng.randrange(len(array) + 1)]
    if kind == 3:
        return np.array(rng.choice(TEXTS).replace("\ud800", ""))
    others = (array.T, np.asfortranarray(array), np.stack([array, array]), array.reshape(rng.choice(SHAPES)))
    return rng.choice(others)


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _other_npy(raw: bytes, rng: Random) -> bytes:
    """The array's file with another header, or none."""
    shapes = (b"(1000000000000,)", b"(-1,)", b"(4294967296, 4294967296)", b"(" * 50, b"(0,)", b"()")
    match rng.randrange(3):
        case 0:
            return re.sub(rb"\([\d, ]*\)", rng.choice(shapes), raw, count=1)
        case 1:
            return raw.replace(b"'descr'", rng.choice((b"'des'", b"descr ", b"__import__('os').getpid()")), 1)
        case _:
            return zlib.compress(raw)
