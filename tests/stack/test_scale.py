"""A long stack costs what its length says and not the square of it; benchmarks/scale.py makes the figures."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.benchmarks.making import MODULE, draw_factors, make_stack, pristine
from tests.stack.making import edit
from tests.stack.thorough import tries
from workbench.stack.glance import glance
from workbench.stack.materialise import Materialiser, weight_sha256
from workbench.stack.store import Stack

LENGTH = tries(1_000, 10_000)
SIDES = (64, 16)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stacks") / "long"
    make_stack(folder, LENGTH, *SIDES)
    return folder


@pytest.fixture
def copy(long: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(long, tmp_path / "copy"))


def seconds(do: Callable[[], object]) -> float:
    """Time of this process, so that a busy machine does not count."""
    start = time.process_time()
    do()
    return time.process_time() - start


def test_a_long_stack_is_what_was_made(long: Path) -> None:
    with Stack.open(long) as stack:
        assert stack.findings == ()
        assert len(stack.applied) == LENGTH
        assert all(checked.ok for checked in stack.verify())
        found = Materialiser()
        found.add_module(MODULE, pristine(*SIDES), "in,out")
        line = [one for made in stack.active for one in stack.factors(made)]
        assert weight_sha256(found.weight(MODULE, line)) == stack.line[-1].weights[MODULE]["after"]


def test_one_more_and_back_again_cost_far_less_than_opening(copy: Path) -> None:
    opening = seconds(lambda: Stack.open(copy).close())
    with Stack.open(copy, write=True) as stack:
        one = draw_factors(LENGTH + 1, *SIDES)
        base = stack.base
        assert base is not None
        hashes = {MODULE: {"before": "0" * 64, "after": "1" * 64}}
        assert seconds(lambda: stack.append(edit("one more", base=base, weights=hashes), one)) < opening
        assert seconds(stack.undo) < opening
        assert seconds(stack.redo) < opening
        assert stack.position == LENGTH + 1


def test_a_page_costs_far_less_than_the_whole(long: Path) -> None:
    def page() -> None:
        found = glance(long)
        assert found
        assert len(found.page(range(LENGTH, LENGTH - 20, -1)) or ()) == 20

    assert seconds(page) < seconds(lambda: Stack.open(long).close()) / 3


def test_a_stack_whose_files_are_gone_is_told_of_in_good_time(copy: Path) -> None:
    for path in copy.glob("*.safetensors"):
        path.unlink()
    start = time.process_time()
    with Stack.open(copy) as stack:
        assert len(stack.findings) >= LENGTH
        assert stack.position == 0
    assert time.process_time() - start < LENGTH / 200


def test_a_lost_index_is_made_again_in_good_time(copy: Path) -> None:
    (copy / "stack.json").unlink()
    opening = seconds(lambda: Stack.open(copy).close())
    with Stack.open(copy, write=True) as stack:
        assert len(stack.applied) == LENGTH
    assert opening < 3 * seconds(lambda: Stack.open(copy).close()) + 1


def test_a_line_whose_first_edit_is_gone_is_told_of_in_good_time(copy: Path) -> None:
    next(copy.glob("0001-*")).unlink()
    assert seconds(lambda: Stack.open(copy).close()) < LENGTH / 200
    (copy / "stack.json").unlink()
    assert seconds(lambda: Stack.open(copy).close()) < LENGTH / 200
