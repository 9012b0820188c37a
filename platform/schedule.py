"""Schedules: a number that may change from a cycle on."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]

Schedule = _Positive | Annotated[dict[Annotated[int, Field(ge=1)], _Positive], Field(min_length=1)]
"""An option that is a positive number, or such numbers by the cycle from which on they hold, e.g. ``{2: 1, 10: 4}``."""


def value_at(schedule: float | Mapping[int, float], cycle: int) -> float:
    """The value of a schedule in a cycle; the first one holds for earlier cycles too."""
    if not isinstance(schedule, Mapping):
        return schedule
    return schedule[max((first for first in schedule if first <= cycle), default=min(schedule))]
