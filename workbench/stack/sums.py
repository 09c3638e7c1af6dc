"""The float64 sums of one module at a few positions, so that no journey along a stack starts at the base.

A sum is the pristine weight plus the first so many factors of a line, added in order. The sum at a later position comes
from the nearest one before it by adding what lies between: the operations of starting again, so the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from workbench.stack.record import Factors, Layout
from workbench.stack.tiles import add_outers

BUDGET = 2**28
"""Bytes of sums that a weight may have, if that is more than `WEIGHTS` times its own."""
WEIGHTS = 4
"""Sums of that many times a weight's bytes are always allowed: one of a 16-bit weight, two of a float32 one."""
_LEVELS = 4


class Sums:
    """Sums along one line of factors: at the position last asked for, at round numbers below it, and at the far end.

    Round numbers are multiples of a few powers of two (`round_positions`): most of the time an undo adds fewer products
    than the smallest of those powers.
    """

    def __init__(
        self, begin: Callable[[], Tensor], layout: Layout, copies: int, check: Callable[[Factors], None]
    ) -> None:
        """`begin` gives the pristine weight in float64, anew at each call; at most `copies` sums are kept.

        `check` is called with every factor that was not there before, and raises if it does not fit the weight.
        """
        self._begin, self._layout, self._copies, self._check = begin, layout, max(1, copies), check
        self._line: list[Factors] = []
        self._kept: dict[int, Tensor] = {}
        """By position: how many factors of the line are in it."""

    @property
    def positions(self) -> tuple[int, ...]:
        """Where there is a sum, in order."""
        return tuple(sorted(self._kept))

    @property
    def room(self) -> int:
        """Memory that they may take: as many as are allowed of the largest that there is."""
        return self._copies * max((kept.nbytes for kept in self._kept.values()), default=0)

    @property
    def bytes(self) -> int:
        """Memory that the sums take."""
        return sum(kept.nbytes for kept in self._kept.values())

    def forget(self) -> None:
        """Frees every sum."""
        self._line, self._kept = [], {}

    def at(self, factors: Sequence[Factors]) -> Tensor:
        """The sum of all of `factors`, float64, to be read and not to be changed.

        An interruption on the way leaves only whole sums behind. Raises what `check` raises, before anything is added.
        """
        self._go_over_to([*factors])
        end = len(factors)
        rounds = round_positions(end, self._copies - 1)
        start = max((position for position in self._kept if position <= end), default=0)
        total = self._from(start, copied=start in rounds)
        for stop in sorted(position for position in {end, *rounds} if position > start):
            add_outers(total, factors[start:stop], self._layout)
            if stop < end:
                self._kept[stop] = total.clone()
            start = stop
        self._kept[end] = total
        self._keep_few(end, rounds)
        return total

    def _from(self, position: int, *, copied: bool) -> Tensor:
        """The sum at `position` to go on from: a copy, or the kept one itself, which is then kept no longer."""
        if position not in self._kept:
            return self._begin()
        return self._kept[position].clone() if copied else self._kept.pop(position)

    def _keep_few(self, end: int, rounds: set[int]) -> None:
        """Drops every sum but that at `end`, the nearest up to each of `rounds`, and the farthest if there is room."""
        wanted = {end, *(max((p for p in self._kept if p <= place), default=end) for place in rounds)}
        if len(wanted) < self._copies:
            wanted.add(max(self._kept))
        self._kept = {position: kept for position, kept in self._kept.items() if position in wanted}

    def _go_over_to(self, factors: list[Factors]) -> None:
        """Makes `factors` the line, unless they are its beginning; a sum of what is not in both goes."""
        same = agreeing(factors, self._line)
        if same == len(factors):
            return
        for one in factors[same:]:
            self._check(one)
        self._line = factors
        self._kept = {position: kept for position, kept in self._kept.items() if position <= same}


def copies_within(elements: int, weight_bytes: int) -> int:
    """How many sums of so many elements the budget allows; at least one."""
    return max(1, max(BUDGET, WEIGHTS * weight_bytes) // max(1, 8 * elements))


def round_positions(end: int, count: int) -> set[int]:
    """Up to `count` positions below `end`, nearer and nearer to it: multiples of larger and smaller powers of two."""
    levels = max(0, min(count, _LEVELS))
    bits = end.bit_length()
    strides = [1 << round(bits * level / (levels + 1)) for level in range(1, levels + 1)]
    return {end // stride * stride for stride in strides} - {0, end}


def agreeing(one: list[Factors], other: list[Factors]) -> int:
    """How many factors both begin with; numbers are compared only of what is not the same object."""
    shorter = min(len(one), len(other))
    if one[:shorter] == other[:shorter]:  # the same objects all along
        return shorter
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, pair in pairs if not _same(*pair)), shorter)


def _same(one: Factors, other: Factors) -> bool:
    """Whether both add the same bits; −0.0 is not 0.0."""
    return one is other or (
        (one.module, one.a.shape, one.b.shape) == (other.module, other.a.shape, other.b.shape)
        and one.a.tobytes() == other.a.tobytes()
        and one.b.tobytes() == other.b.tobytes()
    )
