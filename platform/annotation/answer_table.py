"""The table of a cycle's regions: answers of one class, skipped regions, who annotated them, and how long it took."""

import csv
import io
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from decomp.platform.annotation.exchange import label_named, modified, noting, write_once
from decomp.platform.annotation.query import Answer, Classes, Query
from decomp.platform.datasets.formats.header import BrokenFile, opened
from decomp.platform.errors import UserError

TABLE = "answers.csv"
ANSWER_COLUMNS = ("query", "class", "skipped", "annotator", "seconds")
COLUMNS = ("query", "image", "window", *ANSWER_COLUMNS[1:])


@dataclass(frozen=True)
class Line:
    """What the table says of a region.

    Attributes:
        class_name: the class of all of it, where one is given.
        skipped: why it is skipped, where it is.
        annotator: who annotated it.
        seconds: how long that took.
    """

    class_name: str = ""
    skipped: str = ""
    annotator: str | None = None
    seconds: float | None = None


NOTHING = Line()


class AnswerTable:
    """The file ``answers.csv`` in a cycle's folder.

    Args:
        folder: the cycle's folder.
        queries: the regions of the cycle.
    """

    def __init__(self, folder: Path, queries: Sequence[Query]) -> None:
        self.file, self._queries = folder / TABLE, queries

    def write(self) -> None:
        """Write it with a line for each region, unless it is there."""
        write_once(self.file, csv_text(COLUMNS, map(_row, self._queries)))

    def read(self, mistakes: list[str]) -> dict[str, Line]:
        """Its lines by query; none where there is no table. What is wrong is noted and hides no other line."""
        known = {query.id for query in self._queries}
        given: dict[str, list[Line]] = {}
        with noting(mistakes):
            for cells in self._rows():
                with noting(mistakes):
                    query, line = self._line(cells, known)
                    given.setdefault(query, []).extend([] if line == NOTHING else [line])
        for query, own in given.items():
            if len(set(own)) > 1:
                mistakes.append(f"{self.file}: there are several lines for {query}; keep one.")
        return {query: own[0] for query, own in given.items() if len(set(own)) == 1}

    def _rows(self) -> Iterator[dict[str, str]]:
        """The cells of each line that has any, by the name of the column.

        Raises:
            UserError: if it cannot be read, or is no such table.
        """
        try:
            with opened(self.file) as stream:
                text = stream.read().decode("utf-8-sig")
        except BrokenFile as error:
            if not self.file.exists() and not self.file.is_symlink():
                return
            raise UserError(f"{self.file} {error.what}; {error.mend}.") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{self.file} is no text in UTF-8; save it as that (in Excel: 'CSV UTF-8').") from error
        lines = [line for line in io.StringIO(text, newline=None) if line.strip()]
        first = lines[0] if lines else ""
        reader = csv.reader(lines, delimiter=max(",;\t", key=first.count))
        try:
            heads = [head.strip().lower() for head in next(reader, [])]
            if missing := [name for name in ANSWER_COLUMNS if name not in heads]:
                raise UserError(f"{self.file} has no column {missing[0]!r}; it needs {', '.join(ANSWER_COLUMNS)}.")
            for row in reader:
                cells = dict(zip(heads, map(str.strip, row), strict=False))
                cells = {name: cells.get(name, "") for name in ANSWER_COLUMNS}
                if any(cells.values()):
                    yield cells
        except csv.Error as error:
            raise UserError(f"{self.file} is no table of comma-separated values ({error}); save it as that.") from error

    def _line(self, cells: Mapping[str, str], known: Collection[str]) -> tuple[str, Line]:
        query = cells["query"]
        if query not in known:
            raise UserError(f"{self.file}: there is no region {query!r} in this cycle; remove the line.")
        seconds = self._seconds(query, cells["seconds"])
        return query, Line(cells["class"], cells["skipped"], cells["annotator"] or None, seconds)

    def answer(self, query: Query, line: Line, classes: Classes) -> Answer | None:
        """The answer that a line gives for a whole region, if it gives one.

        Raises:
            UserError: if it gives a class and a reason why the region is skipped, or an unknown class.
        """
        if line.skipped and line.class_name:
            raise UserError(f"{self.file}: {query.id} is skipped, but there is a class as well; keep one of the two.")
        labels = None
        if line.class_name:
            label = label_named(line.class_name, classes, f"{self.file}: {query.id}")
            labels = np.full(query.size, label, np.uint8)
        elif not line.skipped:
            return None
        return Answer(query.id, labels, line.skipped or None, line.annotator, modified(self.file), line.seconds)

    def read_answers(self, classes: Classes, mistakes: list[str]) -> tuple[dict[str, Line], dict[str, Answer]]:
        """Its lines, and the answers that they give for whole regions, by query; what is wrong is noted."""
        lines, answers = self.read(mistakes), dict[str, Answer]()
        for query in self._queries:
            with noting(mistakes):
                answer = self.answer(query, lines.get(query.id, NOTHING), classes)
                answers |= {} if answer is None else {query.id: answer}
        return lines, answers

    def _seconds(self, query: str, text: str) -> float | None:
        try:
            seconds = float(text.replace(",", ".")) if text else None
        except ValueError:
            seconds = math.nan
        if seconds is not None and not 0 <= seconds < math.inf:
            raise UserError(f"{self.file}: {query}: seconds must be a number, not {text!r}.")
        return seconds


def csv_text(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """A table as comma-separated values in UTF-8."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(heads)
    writer.writerows(rows)
    return stream.getvalue().encode()


def _row(query: Query) -> tuple[object, ...]:
    """The line of a region that nobody has annotated yet."""
    window = " ".join(f"{start}:{stop}" for start, stop in query.window)
    return query.id, query.image, window, *(len(ANSWER_COLUMNS) - 1) * ("",)
