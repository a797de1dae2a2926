"""Times of several alternatives, measured side by side: a noisy machine spoils none alone."""

import gc
import random
import statistics
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TypeVar

# Does its work as many times as it is told.
Run = Callable[[int], object]
K = TypeVar("K", bound=Hashable)

_TURN = 500_000  # nanoseconds; short, so that some are left alone by other programs
_TURNS = 40


@dataclass(frozen=True)
class Series:
    """What was measured, round by round; sums and ratios are taken within a round."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    def __sub__(self, other: "Series") -> "Series":
        return Series(tuple(a - b for a, b in zip(self.rounds, other.rounds, strict=True)))

    def __truediv__(self, other: "Series") -> "Series":
        return Series(tuple(a / b for a, b in zip(self.rounds, other.rounds, strict=True)))

    def times(self, factor: float) -> "Series":
        return Series(tuple(value * factor for value in self.rounds))

    def __str__(self) -> str:
        """Return the median, and the quartiles where there are rounds enough for them."""
        if len(self.rounds) < 2:
            return _figure(self.median)
        ends = min(self.rounds), max(self.rounds)
        if len(self.rounds) >= 8:
            low, _, high = statistics.quantiles(self.rounds, n=4)
            ends = low, high
        return f"{_figure(self.median)} ({_figure(ends[0])}–{_figure(ends[1])})"


def _figure(value: float) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 20 else 2
    return f"{value:,.{digits}f}"


def print_table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print Markdown."""
    titles = list(columns)
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}")
    for row in rows:
        print(f"| {' | '.join(map(str, row))} |")
    print(flush=True)


def side_by_side(runs: Mapping[K, Run], rounds: int = 11) -> dict[K, Series]:
    """Return the nanoseconds that each takes once: for each round the best of a few turns."""
    numbers = {name: _number_in_a_turn(run) for name, run in runs.items()}
    best: list[dict[K, float]] = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            best.append({})
            for name in shuffled_turns(runs, _TURNS):
                once = _time(runs[name], numbers[name]) / numbers[name]
                best[-1][name] = min(once, best[-1].get(name, once))
    finally:
        gc.enable()
    return {name: Series(tuple(found[name] for found in best)) for name in runs}


def shuffled_turns(names: Iterable[K], turns: int) -> list[K]:
    """Return all names so many times, each time in another order."""
    names = list(names)
    return [name for _ in range(turns) for name in random.sample(names, len(names))]


def _number_in_a_turn(run: Run) -> int:
    run(2)  # what is done once is done now
    number = 1
    while (spent := min(_time(run, number) for _ in range(5))) < _TURN / 4:
        number *= 2
    return max(1, round(number * _TURN / spent))


def _time(run: Run, number: int) -> int:
    began = perf_counter_ns()
    run(number)
    return perf_counter_ns() - began
