"""What ``ipa-rl workload show`` writes into a folder: page, picture and figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, count
from pathlib import Path

from ipa_rl.errors import InputError, MissingExtraError
from ipa_rl.files import exists, read_text
from ipa_rl.json_text import parse, plain
from ipa_rl.report.workload_facts import as_json
from ipa_rl.result_files import output_folder, write_json
from ipa_rl.workload.portrait import LoadFigures, Portrait
from ipa_rl.workload.workload import Workload

_MOST_BYTES = 8_000_000


def write_files(
    seen: Portrait, rows: Sequence[LoadFigures], folder: Path, say: Callable[[str], None]
) -> list[Path]:
    """Write all; without what draws them, the figures alone, which ``say`` is told."""
    data, page, picture = (folder / name for name in ("data.json", "page.html", "picture.png"))
    write_json(plain(as_json(seen, rows)), data)
    try:
        from ipa_rl.report.workload_page import write_workload_page
        from ipa_rl.report.workload_picture import draw_workload

        write_workload_page(seen, rows, page)
        draw_workload(seen, rows, picture)
    except MissingExtraError as error:
        say(f"note: no page and no picture: {error}")
        return [data]
    return [page, picture, data]


def show_folder(given: Path | None, workload: Workload) -> Path:
    """The folder to write into; by default the first of its name in which no other workload is shown."""
    if given is not None:
        return output_folder(given)
    default = Path("runs") / f"workload-{workload.name}"
    names = (default.with_name(f"{default.name}-{k}") for k in count(2))
    return output_folder(next(one for one in chain([default], names) if _shows(one, workload)))


def _shows(folder: Path, workload: Workload) -> bool:
    """Whether it is free, or shows this one."""
    if not exists(folder):
        return True
    try:
        shown = parse(read_text(folder / "data.json", _MOST_BYTES, "delete the folder"))
    except InputError:
        return False
    return isinstance(shown, dict) and shown.get("folder") == str(workload.folder)
