"""An authority of our own, and certificates that it signs for 127.0.0.1."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")

_NEW = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]


def authority(folder: Path, name: str = "authority") -> Path:
    """Its certificate; the key lies beside it."""
    return _made(folder, name, [])


def signed(by: Path, name: str) -> Path:
    """A certificate that the authority signed, for servers and clients; the key lies beside it."""
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    return _made(by.parent, name, ["-CA", str(by), "-CAkey", str(by.with_suffix(".key")), *names])


def _made(folder: Path, name: str, more: list[str]) -> Path:
    file = folder / f"{name}.pem"
    where = ["-keyout", str(file.with_suffix(".key")), "-out", str(file), "-subj", f"/CN={name}"]
    subprocess.run(["openssl", "req", "-x509", *_NEW, *where, *more], check=True, capture_output=True)
    return file
