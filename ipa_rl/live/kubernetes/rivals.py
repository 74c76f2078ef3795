"""Other writers of the same fields: what they changed of what was asked for last, and who they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ipa_rl.live.kubernetes.api import MANAGER
from ipa_rl.live.kubernetes.changes import Write, own_paths
from ipa_rl.live.kubernetes.fields import last_writer, managers_of, writers_of
from ipa_rl.live.kubernetes.observe import StageView
from ipa_rl.live.kubernetes.paths import Path, read, show_path
from ipa_rl.live.set_backs import LEFT_ALONE_FROM, Asked, SetBacks, remedy


@dataclass
class Rivals:
    """Other writers, as far as one apply goes.

    ``set_backs``: what is remembered of them. ``told``: in words, which of their changes are undone now.
    ``asked``: by stage, what its object asks for; once all is written, what the next look is compared with.
    """

    set_backs: SetBacks
    now_s: float
    told: list[str] = field(default_factory=list)
    asked: dict[str, Asked] = field(default_factory=dict)

    def contested(self, view: StageView, changing: Sequence[Path]) -> str:
        """Why a stage, of which these fields are about to change, is left to another; empty where it is not.

        Asked for stages that nothing else forbids to write. What another changes to what is wanted anyway is
        no set-back; of a stage that is left alone each change counts, as its writer is not quiet.
        """
        name = view.stage.stage.name
        alone = self.set_backs.left_alone(name, self.now_s)
        before = self.set_backs.asked.get(name)
        self.asked[name] = _asked(view)
        by, what = _set_back(view, before, own_paths(view) if alone else changing)
        if what and self.set_backs.note(name, by, what, self.now_s).count < LEFT_ALONE_FROM:
            self.told.append(
                f"{name}: {what}, another writer; set right this once, left alone from the next time on; "
                f"fix: {remedy(by)}"
            )
        return self.set_backs.left_alone(name, self.now_s)

    def written(self, write: Write) -> None:
        """A write was made: from now on its object asks for that."""
        name, fields = write.view.stage.stage.name, dict(write.fields)
        if write.scale is not None:
            fields |= dict.fromkeys(write.view.stage.kind.replicas, write.scale)
        values = {**self.asked[name].values, **{show_path(path): value for path, value in fields.items()}}
        self.asked[name] = replace(self.asked[name], values=values)


def _asked(view: StageView) -> Asked:
    values = {show_path(path): read(view.live, path) for path in own_paths(view)}
    return Asked(str(read(view.live, ("metadata", "uid"))), values)


def _set_back(view: StageView, asked: Asked | None, paths: Sequence[Path]) -> tuple[str, str]:
    """Who changed what was asked for last, and what, in words; empty where nobody did.

    The values are compared, as releases before 1.22 do not record who scales. What one of us wrote meanwhile,
    another copy, is no set-back.
    """
    if asked is None or view.live is None or read(view.live, ("metadata", "uid")) != asked.uid:
        return "", ""
    before = {path: asked.values[show_path(path)] for path in paths if show_path(path) in asked.values}
    now = {path: read(view.live, path) for path in before}
    changed = [path for path in before if now[path] != before[path] and not _written_by_us(view, path)]
    if not changed:
        return "", ""
    others = managers_of(view.live, changed[0], view.stage.kind.keyed)
    writer = others[0] if others else last_writer(view.live)
    words = ", ".join(f"{show_path(path)} {before[path]} -> {now[path]}" for path in changed)
    return (writer.manager if writer else ""), f"{words} by {writer or 'somebody'}"


def _written_by_us(view: StageView, path: Path) -> bool:
    """Whether managedFields says that the present value is ours.

    What is written through the scale subresource is so only where that is recorded; on an older release the
    entry may be from before.
    """
    assert view.live is not None
    kind = view.stage.kind
    scaled = kind.scales and path in kind.replicas
    ours = (one for one in writers_of(view.live, path, kind.keyed) if one.manager == MANAGER)
    return any(one.subresource == "scale" or not scaled for one in ours)
