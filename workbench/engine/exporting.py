"""What leaves the workbench for other tools: the state of a stack as a PEFT LoRA adapter, or as a merged checkpoint.

Both are folders that are there whole or not at all. A merged checkpoint holds, byte for byte, the weights that the
exactness rule gives, and every other tensor of the base as it is.
"""

from __future__ import annotations

import shutil
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from workbench.engine.card import NAME as CARD
from workbench.engine.card import Exported as Shown
from workbench.engine.card import adapter_card, merged_card
from workbench.engine.core import Core
from workbench.engine.engine import Engine
from workbench.errors import ModelError, UsageError
from workbench.events import Event, Exported, Log
from workbench.models.families import EditSite, decoder_blocks, edit_site, layer_count
from workbench.models.fingerprint import base_fingerprint
from workbench.models.held_out import HELD_OUT
from workbench.models.load import save_model
from workbench.models.profiles import PROFILE
from workbench.models.quantised import check_mergeable
from workbench.models.second_moment import find_second_moment, read_moment_file, write_second_moment
from workbench.models.structure import has_experts
from workbench.requests_export import Shape
from workbench.stack import adapter, files, outgoing
from workbench.stack.markdown import on_hub, public_name
from workbench.stack.outgoing import Kind
from workbench.stack.record import Edit

SHARD_SIZE = "5GB"
"""Largest shard of a merged checkpoint, as transformers writes it."""


def export_peft(engine: Engine, out: Path, edits: Sequence[Edit] | None = None) -> None:
    """Writes a PEFT LoRA adapter of the edits that are active, or of `edits`, into the folder `out`.

    In every edited module its rank is the sum of the edits' ranks, and its scale is 1. On the base in the same dtype
    its logits are those of the edited model up to rounding, since the edited weight is rounded to its dtype and the
    adapter's sum is not: within 3e-6 of the largest logit in float32, 3e-3 in float16, 2e-2 in bfloat16.

    Raises:
        UsageError: no edit is active, or `out` exists and is not an empty folder.
        StackError, VerificationError: an edit file is damaged.
        StorageError: the disk would not take it; `out` is as before.
    """
    core = engine.core
    chosen = core.stack.active if edits is None else tuple(edits)
    if not chosen:
        raise UsageError("There is nothing to export: no edit is applied.", "Apply an edit, or redo one.")
    factors = adapter.joined(core.stack.factors(edit) for edit in chosen)
    base = core.base()
    layouts = {module: info["layout"] for edit in chosen for module, info in edit.base.modules.items()}
    experts = any(has_experts(block) for block in decoder_blocks(core.loaded.model))
    revision = base.revision if on_hub(base) else ""
    config = adapter.adapter_config(factors, layouts, public_name(base), revision, experts=experts)
    with _new_folder(out) as unfinished:
        files.write_atomic(unfinished / adapter.WEIGHTS, adapter.adapter_weights(factors))
        files.write_atomic(unfinished / adapter.CONFIG, config)
        files.write_atomic(unfinished / CARD, adapter_card(_exported(core, chosen)).encode())


def export_merged(
    engine: Engine, out: Path, edits: Sequence[Edit] | None = None, *, shard_size: int | str = SHARD_SIZE
) -> None:
    """Writes the model with the edits that are active, or with `edits`, into the folder `out`, for transformers.

    Weights as safetensors shards of at most `shard_size` (bytes, or "5GB") in the dtype they have in memory, config,
    generation config, the base's tokenizer files as they are, a card with the list of edits; and what the workbench
    needs to edit it further: profile, held-out text, and those second moments that no edit has changed. The model
    holds the same edits afterwards.

    Raises:
        UsageError: `out` exists and is not an empty folder.
        ModelError: the base is quantised.
        StackError, VerificationError: an edit file is damaged.
        StorageError: the disk would not take it; `out` is as before.
    """
    core = engine.core
    check_mergeable(core.loaded.model.config, core.loaded.name)
    chosen = core.stack.active if edits is None else tuple(edits)
    for edit in chosen:
        core.live.adopt(edit)
    core.live.show([core.stack.factors(edit) for edit in chosen])
    modules = sorted({module for edit in chosen for module in edit.weights})
    with _new_folder(out) as unfinished:
        save_model(core.loaded, unfinished, shard_size)
        for name in (PROFILE, HELD_OUT):
            if (core.loaded.folder / name).is_file():
                shutil.copyfile(core.loaded.folder / name, unfinished / name)
        kept, dropped = _carry_moments(core, modules, unfinished)
        _for_others(unfinished)
        card = merged_card(_exported(core, chosen), kept, dropped, core.live.hashes(modules))
        files.write_atomic(unfinished / CARD, card.encode())


def export(
    engine: Engine, kind: Kind, out: Path, *, edit: str = "", shape: Shape = "workbench", replace: bool = False
) -> Generator[Event, None, None]:
    """Writes the stack, or something of it, to `out`; ends with Exported.

    Args:
        engine: the model and the stack.
        kind: what to write.
        out: a file, or a folder for "peft" and "merged"; one that starts with ~ is the user's.
        edit: which edit, for "edit".
        shape: of "requests".
        replace: an export that stands at `out` gives way.

    Raises:
        UsageError: something stands at `out`; there is nothing to export; no such edit.
        StackError, VerificationError: an edit file is damaged.
        StorageError: the disk would not take it; what stood at `out` is as before.
    """
    try:
        out = out.expanduser()
    except RuntimeError as error:
        raise UsageError(f"'{out}' is not a place: {error}") from error
    with files.storage("look at", out):
        outgoing.check_free(out, kind, replace=replace)
    yield Log(message=f"exporting {kind} to {out}")
    with outgoing.replacing(out):
        held = _written(engine, kind, out, edit, shape)
    yield Exported(format=kind, out=str(out), count=held, bytes=outgoing.written_size(out))


def _written(engine: Engine, kind: Kind, out: Path, edit: str, shape: Shape) -> int:
    """How many edits, or requests, `out` holds now."""
    stack = engine.stack
    if kind in outgoing.FOLDERS:
        (export_peft if kind == "peft" else export_merged)(engine, out)
        return len(stack.active)
    if kind == "requests":
        return outgoing.write_requests(stack, out, shape)[0]
    if kind == "edit":
        outgoing.write_edit(stack, out, stack.find(edit))
        return 1
    return outgoing.write_stack(stack, out)


def _for_others(folder: Path) -> None:
    """Gives weights the mode of the other files: safetensors makes its files for the owner alone."""
    mode = stat.S_IMODE((folder / "config.json").stat().st_mode)
    for path in folder.rglob("*.safetensors"):
        path.chmod(mode)


def _exported(core: Core, edits: Sequence[Edit]) -> Shown:
    return Shown(core.base(), edits, core.stack.folder.resolve().name)


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"'{out}' is there already.", "Name a new or empty folder.")
    with files.folder_atomic(out) as unfinished:
        yield unfinished


def _carry_moments(core: Core, edited: Sequence[str], folder: Path) -> tuple[list[str], list[str]]:
    """Writes the second moments that hold for the merged model too, under its own fingerprint.

    The keys of a down-projection depend on what comes before it only. So where every edited module is a
    down-projection of that layer or a later one, the base's C is the merged model's.

    Returns:
        the modules whose C came along, and those whose C holds no longer.
    """
    sites = _sites(core)
    base = core.loaded.fingerprint
    measured = {site: path for site in sites if (path := find_second_moment(core.loaded.folder, site, base))}
    fingerprint = base_fingerprint(folder) if measured else ""
    kept: list[str] = []
    for site, path in measured.items():
        later = {other.module for other in sites if other.layer >= site.layer}
        if later.issuperset(edited):
            stored, record = read_moment_file(path, base)
            write_second_moment(folder, site, stored.moment, replace(record, base=fingerprint))
            kept.append(site.module)
    return kept, [site.module for site in measured if site.module not in kept]


def _sites(core: Core) -> list[EditSite]:
    """The down-projections that can be edited, by layer."""
    found = []
    for layer in range(layer_count(core.loaded.model)):
        with suppress(ModelError):  # a layer of another kind has no site, and so no second moment
            found.append(edit_site(core.loaded.model, layer))
    return found
