"""The table of a cycle's regions: answers of one class, skipped regions, who annotated them, and how long it took."""

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from decomp.platform.annotation.exchange import label_named, modified, noting, write_once
from decomp.platform.annotation.query import Answer, Classes, Query
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

    def read(self) -> dict[str, Line]:
        """Its lines by query; none where there is no table.

        Raises:
            UserError: if it is no such table, or names a region of another cycle.
        """
        try:
            text = self.file.read_bytes().decode("utf-8-sig")
        except FileNotFoundError:
            return {}
        except UnicodeDecodeError as error:
            raise UserError(f"{self.file} is no text in UTF-8; save it as that.") from error
        first = text.partition("\n")[0]
        rows = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=first.count))
        if missing := [name for name in ANSWER_COLUMNS if name not in (rows.fieldnames or ())]:
            raise UserError(f"{self.file} has no column {missing[0]!r}; it needs {', '.join(ANSWER_COLUMNS)}.")
        known, lines = {query.id for query in self._queries}, {}
        try:
            filled = [{name: (row[name] or "").strip() for name in ANSWER_COLUMNS} for row in rows]
        except csv.Error as error:
            raise UserError(f"{self.file} is no table of comma-separated values ({error}); save it as that.") from error
        for values in filled:
            if not any(values.values()):
                continue
            if values["query"] not in known:
                raise UserError(f"{self.file}: there is no region {values['query']!r} in this cycle; remove the line.")
            seconds = self._seconds(values["query"], values["seconds"])
            lines[values["query"]] = Line(values["class"], values["skipped"], values["annotator"] or None, seconds)
        return lines

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
        lines: dict[str, Line] = {}
        answers: dict[str, Answer] = {}
        with noting(mistakes):
            lines = self.read()
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
