"""What is wrong with the files of a data set, with one sentence for the same mistake in many files."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SHOWN = 5  # codes or ids in a message
ONE_BY_ONE = 3  # up to so many files with the same mistake get a sentence each


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with a file.

    Attributes:
        file: the file.
        what: what is wrong, the end of a sentence that begins with the file.
        mend: what to do about it.
        kind: a name of the mistake, where `what` or `mend` differ from file to file in more than numbers.
        codes: the codes in a mask that have no meaning.
    """

    file: Path
    what: str
    mend: str
    kind: str = ""
    codes: tuple[str, ...] = ()


def sentences(problems: Sequence[Problem]) -> list[str]:
    """A sentence for each problem, or one in all for the same mistake in more than `ONE_BY_ONE` files."""
    alike: dict[str, list[Problem]] = {}
    for problem in problems:
        alike.setdefault(problem.kind or _but_for_numbers(f"{problem.what}; {problem.mend}"), []).append(problem)
    return [sentence for group in alike.values() for sentence in _of_group(group)]


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def strange(mask: Path, codes: Sequence[str], mend: str) -> Problem:
    """The problem of a mask that holds codes without a meaning."""
    return Problem(mask, f"holds {some(codes)}, which is of no class", mend, "codes", tuple(codes))


def _but_for_numbers(sentence: str) -> str:
    return re.sub(r"[\d,]+", "#", sentence)


def _of_group(group: list[Problem]) -> list[str]:
    if len(group) <= ONE_BY_ONE:
        return [f"dataset.root: {problem.file} {problem.what}; {problem.mend}." for problem in group]
    first, *others = group
    what, codes = first.what, Counter(code for problem in group for code in problem.codes)
    if len({problem.codes for problem in group}) > 1:
        what = f"and others hold {some([code for code, _ in codes.most_common()])}, which are of no class"
    examples = " and ".join(str(problem.file) for problem in others[:2])
    return [
        f"dataset.root: {first.file} {what}; {first.mend} (the same is wrong with {len(others)} more files, such as "
        f"{examples})."
    ]
