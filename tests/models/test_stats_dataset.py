"""Text out of a data set: by whatever name, row by row, no further than it is needed; with the real package too."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from workbench.engine.stats.documents import DataSet
from workbench.errors import UsageError

Asked = list[tuple[Any, ...]]
StandIn = Callable[[Iterable[Any]], Asked]


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Puts a stand-in for the package there, whose data sets are all these rows, and returns what it is asked for."""

    def put(rows: Iterable[Any]) -> Asked:
        asked: Asked = []

        def load_dataset(*names: Any, **how: Any) -> Iterable[Any]:
            asked.append((*names, how["split"], how["streaming"]))
            return rows

        module: Any = ModuleType("datasets")
        module.load_dataset, module.disable_progress_bars = load_dataset, lambda: None
        module.logging = SimpleNamespace(set_verbosity=lambda _: None)
        monkeypatch.setitem(sys.modules, "datasets", module)
        return asked

    return put


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("wikitext:raw@validation", ("Salesforce/wikitext", "raw", "validation")),
        ("wikitext", ("Salesforce/wikitext", "wikitext-103-raw-v1", "train")),
        ("wikipedia", ("wikimedia/wikipedia", "20231101.en", "train")),
        ("wikipedia:20231101.de", ("wikimedia/wikipedia", "20231101.de", "train")),
        ("someone/essays", ("someone/essays", None, "train")),
    ],
)
def test_a_name_says_data_set_configuration_and_split(package: StandIn, name: str, wanted: tuple[Any, ...]) -> None:
    asked = package([{"text": "one"}, {"text": " "}, {"text": "two"}])
    assert list(DataSet(name).read()) == ["one", "two"]
    assert asked == [(*wanted, True)]


def test_what_was_read_is_recorded_under_its_whole_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert DataSet("wikipedia").about()["name"] == "wikimedia/wikipedia:20231101.en"
    assert DataSet("wikitext@test").about()["words"] == "the data set Salesforce/wikitext:wikitext-103-raw-v1@test"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wikitext").mkdir()
    assert DataSet("wikitext").about()["name"] == "wikitext"


def test_no_more_rows_are_read_than_are_asked_for(package: StandIn) -> None:
    read = itertools.count()
    package({"text": f"row {number}"} for number in read)
    assert list(itertools.islice(DataSet("endless").read(), 3)) == ["row 0", "row 1", "row 2"]
    assert next(read) == 3


def test_a_connection_lost_on_the_way_is_told_in_words(package: StandIn) -> None:
    def rows() -> Iterable[Any]:
        yield {"text": "one"}
        raise ConnectionError("the line is dead\nand more")

    package(rows())
    reading = DataSet("essays").read()
    assert next(reading) == "one"
    with pytest.raises(UsageError, match=r"The data set 'essays' cannot be read: the line is dead$") as caught:
        next(reading)
    assert "--text FILES" in caught.value.hint


def test_rows_without_text_are_told_with_what_they_have(package: StandIn) -> None:
    package([{"body": "one", "x" * 99: 2, "c": 3, "d": 4}])
    with pytest.raises(UsageError, match="has no text in its row 1") as caught:
        list(DataSet("essays").read())
    assert caught.value.hint == f'Every row needs a field "text"; this one has body, {"x" * 29}…, c and more.'


@pytest.mark.parametrize("name", ["", "@train", ":raw", ":raw@train"])
def test_a_name_that_names_nothing_is_refused_at_once(name: str) -> None:
    with pytest.raises(UsageError, match="names no data set"):
        DataSet(name)


def test_without_the_package_a_data_set_is_refused_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match="datasets, which is not installed") as caught:
        list(DataSet("wikitext").read())
    assert "pip install" in caught.value.hint


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The package itself, on this machine's files alone."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("datasets", reason="the package datasets is not installed")


@pytest.mark.usefixtures("real")
def test_folders_of_lines_and_of_records_are_data_sets(tmp_path: Path) -> None:
    texts = ["Oslo lies by the sea.", "Lima too."]
    for name in ("records", "lines"):
        (tmp_path / name).mkdir()
    (tmp_path / "records" / "train.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    (tmp_path / "lines" / "test.txt").write_text("\n".join(texts))
    assert list(DataSet("records").read()) == texts
    assert list(DataSet("lines@test").read()) == texts
    with pytest.raises(UsageError, match="'lines@train' cannot be read: Bad split"):
        list(DataSet("lines@train").read())


@pytest.mark.usefixtures("real")
def test_a_damaged_file_and_a_name_out_of_reach_are_told_in_a_sentence(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "train.parquet").write_bytes(b"PAR1" + bytes(500))
    for name in ("damaged", "no-one/nothing"):
        with pytest.raises(UsageError, match=f"The data set '{name}' cannot be read: "):
            list(DataSet(name).read())
    assert capfd.readouterr() == ("", "")
