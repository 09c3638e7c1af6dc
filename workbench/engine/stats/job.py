"""The whole job: load a model, measure or import its second moments, store them, and say what they are worth."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from workbench.engine.stats.checkpoint import EVERY
from workbench.engine.stats.documents import Documents
from workbench.engine.stats.plan import BUDGET, OWN_WINDOW, window_of
from workbench.engine.stats.published import read_published
from workbench.engine.stats.ranks import asked_for, device_for, joined
from workbench.engine.stats.reading import Batches, SampledText, WrittenText
from workbench.engine.stats.run import Cancelled, Run
from workbench.engine.stats.sums import Keys
from workbench.engine.stats.worth import layer_in, worth
from workbench.errors import EditError, ModelError, StorageError, UsageError
from workbench.events import Event, MomentReady, Warning  # noqa: A004  the wire's word
from workbench.models.families import EditSite, edit_site, layer_count
from workbench.models.fingerprint import base_fingerprint, known_fingerprint
from workbench.models.folder import find_model
from workbench.models.kept import kept_for
from workbench.models.load import LoadedModel, load_model
from workbench.models.options import PLAIN, LoadOptions
from workbench.models.profiles import profile_of
from workbench.models.second_moment import (
    FOLDER,
    MomentRecord,
    StoredMoment,
    encode_second_moment,
    find_second_moment,
    moment_fingerprint,
    places_of,
    read_moment_file,
    read_record,
    second_moment_path,
    symmetrised,
)
from workbench.stack import files


@dataclass(frozen=True)
class Wanted:
    """What is to be measured, and over what."""

    model: str
    layers: tuple[int, ...] = ()
    """Decoder blocks; none: the profile's."""
    documents: Documents | None = None
    """None: text sampled from the model itself."""
    tokens: int | None = None
    """None: BUDGET for every dimension of the widest keys."""
    window: int | None = None
    """None: the model's context, at most plan.WINDOW; plan.OWN_WINDOW where the model writes the text."""
    seed: int = 0
    """Of sampled text."""
    device: str = "auto"
    dtype: str = "auto"
    loading: LoadOptions = PLAIN
    out: Path | None = None
    """A model's folder, or another one; None: among what is kept for these weights."""
    every: float = EVERY
    """Seconds between two checkpoints."""


def measure(wanted: Wanted, cancelled: Cancelled) -> Generator[Event, None, None]:
    """Yields ModelLoading, MomentProgress and a MomentReady a module; a cancelled run keeps what it has.

    Raises:
        UsageError: the text, the window or the budget makes no sense.
        ModelError: the model cannot be read or edited there, or its keys are not numbers.
        StorageError: the disk would not take it.
    """
    ranks = asked_for()
    loaded = yield from load_model(wanted.model, device_for(ranks, wanted.device), wanted.dtype, wanted.loading)
    sites = sites_of(loaded, wanted.layers)
    _check_place(_place(loaded, sites[0], wanted.out))
    with joined(ranks, loaded.device):
        run = Run(loaded, Keys(loaded.model, sites), _text(wanted, loaded, sites), ranks, wanted.every)
        standing = _standing(run, wanted.out) if wanted.documents is None else []
        if standing:
            yield Warning(message="The same C is there already.", hint="Nothing was measured.")
            yield from standing if ranks.leads else ()
            return
        finished = yield from run.read(cancelled)
        if finished:
            yield from _store_all(run, wanted.out)


def import_published(wanted: Wanted, path: Path) -> Generator[Event, None, None]:
    """Stores the second moment at `path`, a .npz file of the ROME code, for one layer; yields what it is worth.

    Raises:
        UsageError: not exactly one layer was named, or there is no such file.
        ModelError: the file cannot be used for that layer.
        StorageError: the disk would not take it.
    """
    if len(wanted.layers) > 1:
        raise UsageError("A file holds the second moment of one layer.", "Name that one with --layer.")
    loaded = yield from load_model(wanted.model, wanted.device, wanted.dtype, wanted.loading)
    (site,) = sites_of(loaded, wanted.layers)
    moment, samples, sha256 = read_published(path, site.d_in)
    yield Warning(
        message=f"Nothing in {path.name} says which weights it was made with: it is taken to be for {loaded.name}, "
        f"layer {site.layer}.",
        hint="Edits made with it record that it was imported.",
    )
    words = f"an imported file, {path.name}, not known to be made with these weights"
    text = {"kind": "published", "name": path.name, "sha256": sha256, "words": words}
    record = MomentRecord(site.module, samples, loaded.fingerprint, text)
    yield from _store(loaded, site, moment, record, wanted.out)


def stored(model: str, options: LoadOptions = PLAIN) -> Generator[Event, None, None]:
    """What is there for `model`, without loading it: a MomentReady for each C, the one that is used for its module.

    Raises:
        ModelError: there is no such model.
    """
    import torch

    folder, pickle = find_model(model, options).path, options.allow_pickle
    base = known_fingerprint(folder, allow_pickle=pickle) or base_fingerprint(folder, allow_pickle=pickle)
    seen: set[str] = set()
    found = [path for place in places_of(folder, base) for path in sorted((place / FOLDER).glob("*.safetensors"))]
    for path in sorted(found, key=lambda path: layer_in(path.stem)):
        try:
            moment, record = read_moment_file(path, base)
            if record.module not in seen:
                yield worth(moment, record, path, torch.device("cpu"))
            seen.add(record.module)
        except (EditError, ModelError) as error:
            yield Warning(message=error.message, hint=error.hint)


def sites_of(loaded: LoadedModel, layers: tuple[int, ...]) -> tuple[EditSite, ...]:
    """The modules of these decoder blocks, or of the profile's. Raises ModelError."""
    chosen = layers or (profile_of(loaded, layer_count(loaded.model)).recipe.layer,)
    return tuple(edit_site(loaded.model, layer) for layer in sorted(set(chosen)))


def _text(wanted: Wanted, loaded: LoadedModel, sites: tuple[EditSite, ...]) -> Batches:
    tokens = wanted.tokens or BUDGET * max(site.d_in for site in sites)
    if wanted.documents is None:
        window = window_of(loaded, wanted.window, OWN_WINDOW)
        return SampledText(loaded, tokens, min(window, tokens), wanted.seed)
    window = window_of(loaded, wanted.window)
    return WrittenText(loaded, tokens, min(window, tokens), wanted.documents)


def _standing(run: Run, out: Path | None) -> list[MomentReady]:
    """What an earlier run over the same sampled text has left, if it is all there."""
    found = []
    for site in run.keys.sites:
        path = _place(run.loaded, site, out)
        try:
            stored, record = read_moment_file(path, run.loaded.fingerprint)
        except ModelError:
            return []
        same_text = run.text.named().items() <= record.text.items() and record.samples == run.text.plan.whole
        if not same_text or record.made_by != run.made_by():
            return []
        found.append(worth(stored, record, path, run.loaded.device))
    return found


def _replaced(path: Path, record: MomentRecord) -> Iterator[Warning]:
    """Says what is about to be replaced at `path` by a C of another text, or of more or less of it."""
    try:
        before = read_record(path, record.base) if path.is_file() else record
    except ModelError:
        return  # damaged, or of other weights: nothing is lost
    if (before.text, before.samples) != (record.text, record.samples):
        yield Warning(
            message=f"This takes the place of the C over {before.samples} keys of {before.words}.",
            hint="Edits made with that one keep it on record, but can only be made anew with it.",
        )


def _place(loaded: LoadedModel, site: EditSite, out: Path | None) -> Path:
    return second_moment_path(out or kept_for(loaded.fingerprint), site)


def _check_place(path: Path) -> None:
    """Raises StorageError if nothing can be stored at `path`: to be known before the text is read."""
    try:
        files.make_folder(path.parent)
        files.write_atomic(path.with_name(".room"), b"")
        files.remove(path.with_name(".room"))
    except StorageError as error:
        raise StorageError(error.message, f"Choose another folder with --out; this one is {path.parent}.") from error


def _store_all(run: Run, out: Path | None) -> Generator[Event, None, None]:
    samples, ids = run.samples(), run.tokens_sha256()
    if samples < run.text.plan.tokens - run.text.plan.window:
        yield Warning(message=f"The text has only {samples} tokens; {run.text.plan.tokens} were asked for.")
    text = {**run.text.about(), "tokens_sha256": ids}
    for site in run.keys.sites:
        found = run.keys.sums[site.module]
        run.ranks.add_up(found.total)
        if run.ranks.leads:
            record = MomentRecord(site.module, samples, run.loaded.fingerprint, text, run.made_by())
            yield from _store(run.loaded, site, found.mean(samples), record, out)
    with suppress(StorageError):  # where none could be kept
        run.checkpoint.remove()


def _store(
    loaded: LoadedModel, site: EditSite, moment: Tensor, record: MomentRecord, out: Path | None
) -> Generator[Event, None, None]:
    """Writes one C, and says what it is worth and whether edits will find it.

    Raises:
        EditError: it cannot be used. StorageError: the disk would not take it. What was there before stays then.
    """
    path = _place(loaded, site, out)
    # Before it is written: one that no edit can use must not take the place of one that can be used.
    found = symmetrised(moment)
    ready: MomentReady = worth(
        StoredMoment(found, record.samples, moment_fingerprint(found, record)), record, path, loaded.device
    )
    yield from _replaced(path, record)
    files.make_folder(path.parent)
    files.write_parts(path, encode_second_moment(found, record))
    yield ready
    used = find_second_moment(loaded.folder, site, loaded.fingerprint)
    if used is not None and used.resolve() != path.resolve():
        yield Warning(
            message=f"Edits at layer {site.layer} use another second moment, {used}, not this one.",
            hint="--out with the model's folder puts the new one in its place.",
        )
    elif used is None:
        yield Warning(message="Edits do not look there.", hint="Without --out it is kept where they do.")
