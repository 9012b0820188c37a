"""A data set whose labels people give, answer by answer."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from decomp.platform.annotation.query import Answer, Query
from decomp.platform.datasets.base import Dataset

D = TypeVar("D", bound=Dataset)


class Answers:
    """The labels that have come in; of several for one query, and where windows overlap, the last one counts."""

    def __init__(self) -> None:
        self._by_image: dict[str, dict[Any, tuple[Query, npt.NDArray[np.uint8]]]] = {}

    def put(self, query: Query, answer: Answer) -> None:
        """Take an answer in; that a region was skipped takes back what was answered before."""
        answered = self._by_image.setdefault(query.image, {})
        key = query.id, query.window  # two runs may use one id
        answered.pop(key, None)
        if answer.labels is not None:
            answered[key] = query, answer.labels

    def of(self, image: str) -> Iterator[tuple[Query, npt.NDArray[np.uint8]]]:
        """The queries about an image that have been answered, with the labels of their windows."""
        yield from self._by_image.get(image, {}).values()


class LateAnswers(Answers):
    """Answers that are read when they are first asked for.

    Attributes:
        load: reads them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.load: Callable[[], Answers] | None = None

    @override
    def of(self, image: str) -> Iterator[tuple[Query, npt.NDArray[np.uint8]]]:
        if self.load is not None:
            load, self.load = self.load, None
            self._by_image = load()._by_image
        return super().of(image)

    def __getstate__(self) -> dict[str, Any]:
        return {"_by_image": self._by_image, "load": None}


def with_answers(dataset: D, answers: Answers) -> D:
    """The same data set, except that its labels hold the answers, those that come later included."""
    answered = object.__new__(_subclass(type(dataset)))
    # Not by attributes, which a frozen dataclass refuses.
    answered.__dict__.update(dataset.__dict__, _unanswered=dataset, _answers=answers)
    return cast(D, answered)


class _Answered(Dataset):
    _unanswered: Dataset
    _answers: Answers

    def labels(self, image: str) -> npt.NDArray[np.uint8]:
        labels = super().labels(image)  # type: ignore[safe-super]  # the data set's, see `_subclass`
        answered = list(self._answers.of(image))
        if not answered:
            return labels
        original = np.array(self.to_original(image, labels))
        for query, window in answered:
            original[query.slices][query.inside] = window[query.inside]
        return self.of_original(image, original)

    def __reduce__(self) -> tuple[Any, ...]:
        return with_answers, (self._unanswered, self._answers)


@functools.cache
def _subclass(cls: type[Dataset]) -> type[Dataset]:
    """A subclass, so that whoever asks for a kind of data set still finds it."""
    return type(cls.__name__, (_Answered, cls), {"__module__": cls.__module__, "__doc__": cls.__doc__})
