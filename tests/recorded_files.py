"""Files of requests and counts as people have them, made from columns."""

from __future__ import annotations

import csv
import gzip
import io
import json
import lzma
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Form:
    """How columns are written. ``has_names``: whether the first line of a CSV file names them."""

    kind: str = "csv"
    delimiter: str = ","
    decimal: str = "."
    newline: str = "\n"
    has_mark: bool = False
    is_quoted: bool = False
    has_names: bool = True
    packing: str = ""


csv_forms = st.builds(
    Form,
    st.just("csv"),
    st.sampled_from([",", ";", "\t", "|"]),
    st.just("."),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", "gz", "xz"]),
)
forms = csv_forms | st.sampled_from([Form("jsonl"), Form("jsonl", packing="gz"), Form("json")])
forms |= st.sampled_from([Form("parquet"), Form("npz")])


def write(folder: Path, columns: Columns, form: Form) -> Path:
    """The columns as a file of that form."""
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if form.kind == "csv":
        content = _csv(columns, form)
    elif form.kind == "jsonl":
        content = "\n".join(map(json.dumps, rows)).encode()
    elif form.kind == "json":
        content = json.dumps(rows).encode()
    else:
        file = io.BytesIO()
        if form.kind == "parquet":
            pd.DataFrame(dict(columns)).to_parquet(file)
        else:
            arrays: dict[str, Any] = {name: np.array(values) for name, values in columns.items()}
            np.savez(file, **arrays)
        content = file.getvalue()
    path = folder / f"recorded.{form.kind}"
    if form.packing:
        content = gzip.compress(content) if form.packing == "gz" else lzma.compress(content)
        path = path.with_name(f"{path.name}.{form.packing}")
    path.write_bytes(content)
    return path


def _csv(columns: Columns, form: Form) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(
        text,
        delimiter=form.delimiter,
        quoting=csv.QUOTE_ALL if form.is_quoted else csv.QUOTE_MINIMAL,
        lineterminator=form.newline,
    )
    if form.has_names:
        writer.writerow(columns)
    for row in zip(*columns.values(), strict=True):
        writer.writerow(
            [str(one).replace(".", form.decimal) if isinstance(one, float) else one for one in row]
        )
    return (b"\xef\xbb\xbf" if form.has_mark else b"") + text.getvalue().encode()
