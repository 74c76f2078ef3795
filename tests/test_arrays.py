"""Arrays in .npz files, checked before they are read."""

from __future__ import annotations

import io
import resource
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipa_rl import resources
from ipa_rl.arrays import Wanted, check_finite, misfit, read_arrays
from ipa_rl.errors import InputError
from ipa_rl.files import read_bytes

SHIPPED = [
    *sorted(resources.folder("agents").glob("*/scorer.npz")),
    resources.folder("workloads") / "twitter/fitted/lstm-1s.npz",
    resources.folder("workloads") / "twitter/fitted/quantiles-1s.npz",
]


def read(path: Path, wanted: Wanted | None = None) -> dict[str, Any]:
    return read_arrays(path, lambda headers: misfit(headers, wanted or {}), "policy", "train it")


def header(descr: str, shape: str) -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def zipped(path: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_shipped_arrays_are_read_to_the_bit(path: Path) -> None:
    with np.load(path, allow_pickle=False) as file:
        expected = dict(file)
    found = read(path)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()
        assert found[name].flags.c_contiguous == array.flags.c_contiguous


@pytest.mark.parametrize("array", [
    np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(3, dtype=">f4"), np.array("é"),
    np.zeros((0, 3)), np.array(True), np.arange(5, dtype=np.uint16),
])  # fmt: skip
def test_any_plain_array_is_read_as_numpy_reads_it(array: np.ndarray[Any, Any], tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", a=array)
    found = read(tmp_path / "a.npz")["a"]
    assert np.array_equal(found, array)
    assert found.flags.f_contiguous == array.flags.f_contiguous


BROKEN: dict[str, bytes | dict[str, bytes]] = {
    "no archive": b"not a policy",
    "nothing": b"",
    "a header that asks for terabytes": {"a.npy": header("<f8", "(1000000000000,)")},
    "a shape whose size overflows": {"a.npy": header("<f8", "(4294967296, 4294967296, 4294967296)")},
    "objects": {"a.npy": header("|O", "(1,)") + b"x" * 8},
    "a structure": {"a.npy": b"\x93NUMPY\x01\x00\x28\x00{'descr': [('a', '<f8')], 'shape': (1,)}" + b"x" * 8},
    "a header that is code": {"a.npy": b"\x93NUMPY\x01\x00\x14\x00__import__('os')    \n"},
    "a header with a bracket left open": {"a.npy": header("<f8", "((((((")},
    "a header that is no text": {"a.npy": header("<f8", "(1,)").replace(b"{", b"{\xde\x9e\n")},
    "a header of another Python": {"a.npy": header("<f8", "(3L,)") + b"x" * 23},
    "a header of a list": {"a.npy": header("<f8", "[{}, 1]")},
    "no array": {"a.npy": b"text"},
    "an array that is cut off": {"a.npy": header("<f8", "(3,)") + b"x" * 23},
    "another version": {"a.npy": b"\x93NUMPY\x09\x00\x00\x00"},
}


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_is_no_archive_of_arrays_is_told_before_memory_is_taken(
    kind: str, tmp_path: Path
) -> None:
    content, path = BROKEN[kind], tmp_path / "a.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        zipped(path, content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=r"a\.npz: is not a readable policy; fix: train it"):
        read(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


def test_an_archive_that_unpacks_to_much_more_is_refused_by_its_directory(tmp_path: Path) -> None:
    bomb = header("<f8", "(20000000,)") + b"\0" * 160_000_000
    path = zipped(tmp_path / "a.npz", {"a.npy": bomb}, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(InputError, match="is not a readable policy"):
        read(path)


@given(st.data())
def test_a_file_with_changed_bytes_is_read_or_told(data: st.DataObject) -> None:
    content = bytearray(SHIPPED[-1].read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = Path("/tmp") / f"ipa-rl-arrays-{id(data)}.npz"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with suppress(InputError):
        read(path)
    path.unlink()


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        ({"b": ("f8", (3,))}, "lacks the array b"),
        ({"a": ("f8", (4,))}, r"the array a is float64 \(3,\), not float64 \(4\)"),
        ({"a": ("f8", (3, None))}, "the array a is"),
        ({"a": ("i8", (3,))}, ".*, not int64"),
        ({"a": ("U", (None,))}, ".*, not str"),
    ],
)
def test_arrays_of_another_name_type_or_shape_are_told(wanted: Wanted, told: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.zeros(3))
    with pytest.raises(InputError, match=f"is not a policy: {told}"):
        read(tmp_path / "a.npz", wanted)


def test_two_arrays_of_a_name_are_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", file.getvalue())
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.npy", file.getvalue())
    with pytest.raises(InputError, match="is not a readable policy"):
        read(tmp_path / "a.npz")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_told_with_their_array(value: float) -> None:
    with pytest.raises(InputError, match=r"a\.npz: b: holds numbers that are not finite"):
        check_finite({"a": np.zeros(2), "b": np.array([0.0, value])}, Path("a.npz"), "train it")


def test_a_file_is_not_read_beyond_what_it_may_hold(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1001)
    with pytest.raises(InputError, match="a: is larger than 1 kB; fix: shorten"):
        read_bytes(tmp_path / "a", 1000, "shorten")
