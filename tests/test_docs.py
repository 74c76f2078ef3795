"""The pages: links resolve, the README's Python runs, every command line that is shown exists."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer.main
from markdown_it import MarkdownIt
from markdown_it.token import Token

import ipa_rl
from ipa_rl.cli import app
from tests.command_line import ipa_rl as ipa_rl_command

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "profiles/**/*.md", "agents/*/*.md")
    for page in ROOT.glob(pattern)
)


def tokens(page: Path) -> list[Token]:
    """All tokens of a page, those inside lines included."""
    found: list[Token] = []
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        found += [token, *(token.children or [])]
    return found


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of one language."""
    return [token.content for token in tokens(page) if token.type == "fence" and token.info == language]


def command_lines() -> list[str]:
    """Every line of a console block that calls ipa-rl, without its comment."""
    lines = [line for page in PAGES for block in blocks(page, "console") for line in block.splitlines()]
    return sorted({line.split("#")[0].strip() for line in lines if line.startswith("ipa-rl")})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_lead_to_files_that_exist(page: Path) -> None:
    targets = [token.attrGet("href") or token.attrGet("src") for token in tokens(page)]
    for target in filter(None, targets):
        parts = urlsplit(str(target))
        if not parts.scheme and parts.path:
            assert (page.parent / parts.path).exists(), target


@pytest.mark.parametrize("line", command_lines())
def test_every_command_line_that_is_shown_exists(line: str) -> None:
    command: Any = typer.main.get_command(app)
    words = shlex.split(line)[1:]
    while hasattr(command, "commands"):
        name = words.pop(0)
        assert name in command.commands, f"no command {name}"
        command = command.commands[name]
        command = getattr(command, "command", command)  # imported when it is called
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    assert {word for word in words if word.startswith("--")} <= known


def run(folder: Path, *words: str) -> str:
    """What Python prints."""
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_python_of_the_readme_is_short_and_runs(tmp_path: Path) -> None:
    (program,) = blocks(ROOT / "README.md", "python")
    assert len(program.splitlines()) <= 15
    assert run(tmp_path, "-c", program)


@pytest.mark.slow
@pytest.mark.parametrize("program", blocks(ROOT / "docs" / "reference" / "python.md", "python"))
def test_the_python_of_the_reference_runs(program: str, tmp_path: Path) -> None:
    assert run(tmp_path, "-c", program)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["your-controller", "train-with-another-library"])
def test_the_python_of_a_how_to_runs_and_its_controllers_can_be_compared(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    page = ROOT / "docs" / "how-to" / f"{name}.md"
    for number, program in enumerate(blocks(page, "python")):
        first = program.splitlines()[0]
        file = first.removeprefix("# ") if first.startswith("# ") else f"block_{number}.py"
        (tmp_path / file).write_text(program.replace("2_000_000", "1_280"), encoding="utf-8")
        run(tmp_path, file)
    for line in (line for block in blocks(page, "console") for line in block.splitlines()):
        few = ("--from", "600", "--to", "720", "--fluid", "--seeds", "1", "--workers", "1")
        words = [*shlex.split(line)[1:], *few]
        done = ipa_rl_command(*words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert all(word.rpartition(":")[2].lower() in done.stdout for word in words if ".py:" in word)


def test_the_reference_names_what_the_package_exports() -> None:
    text = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    for name in ipa_rl.__all__:
        assert f"`{name}" in text, name
        assert getattr(ipa_rl, name) is not None
