"""Numbers in words: no more digits than the spread supports."""

import math


def decimals(value: float, spread: float | None) -> int:
    """How many decimals of `value` mean something.

    With a spread: up to its first digit, and one more where that is a 1 (the rule of the Particle
    Data Group, simplified). Without: three significant digits.
    """
    if spread is not None and spread > 0 and math.isfinite(spread):
        exponent = math.floor(math.log10(spread))
        # a spread of 0.12 rounded to 0.1 would be off by a fifth, one of 0.52 by little
        leading = spread / 10**exponent
        return max(0, min(6, -exponent + (1 if leading < 2 else 0)))
    if value == 0 or not math.isfinite(value):
        return 0
    return max(0, min(9, 2 - math.floor(math.log10(abs(value)))))


def figure(value: float, spread: float | None = None) -> str:
    """`value` with the digits its spread supports: 1,234 or 0.0123."""
    return f"{value:,.{decimals(value, spread)}f}"


def seconds(value: float, sd: float | None = None) -> str:
    """`432.1 ± 0.8 s`, or `432 s` where there is no spread."""
    if sd:
        return f"{figure(value, sd)} ± {figure(sd, sd)} s"
    return f"{figure(value)} s"


def percent(accuracy: float, sd: float | None = None) -> str:
    """`99.12 ± 0.04 %` of an accuracy from 0 to 1; never more than an image's worth of digits."""
    if sd:
        # one of 10,000 test images is 0.01 %
        places = min(2, decimals(accuracy * 100, sd * 100))
        return f"{accuracy * 100:.{places}f} ± {sd * 100:.{places}f} %"
    return f"{accuracy * 100:.2f} %"


def times(ratio: float, interval: tuple[float, float] | None = None) -> str:
    """`2.31 times (95 % interval 2.28 to 2.34)`."""
    if interval is None:
        return f"{figure(ratio)} times"
    half = (interval[1] - interval[0]) / 2
    low, high = (figure(bound, half) for bound in interval)
    return f"{figure(ratio, half)} times (95 % interval {low} to {high})"


def efficiency(value: float, interval: tuple[float, float] | None = None) -> str:
    """`83 % (95 % interval 81 to 85)` of a share of 1."""
    if interval is None:
        return f"{value * 100:.0f} %"
    low, high = (f"{bound * 100:.0f}" for bound in interval)
    return f"{value * 100:.0f} % (95 % interval {low} to {high})"


def duration(seconds: float) -> str:
    """`45 s`, `5.2 min`, `37 min`, `2.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 600:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def counted(count: float, word: str) -> str:
    """`1 thread`, `2 threads`, `1.5 threads`."""
    number = f"{count:g}" if isinstance(count, float) else count
    return f"{number} {word}" if count == 1 else f"{number} {word}s"
