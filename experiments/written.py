"""What a user writes, in a file or on the command line, as plain values; the same text means the same in both.

YAML 1.1 with these rules besides: keys are text, however they look (a class may be called no, null or 07), but for
whole numbers; a key is given once; values are text, numbers, true, false, null, lists and mappings, and nothing else is
made; 1e-3 is a number.
"""

import re
import shlex
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydantic
import yaml
from yaml.constructor import SafeConstructor
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from decomp.platform.errors import UserError, shown

LARGEST = 1_000_000
"""Most bytes of an experiment file."""

MOST = 10_000
"""Most values of an experiment file, those behind an alias counted wherever it is used."""

DEEPEST = 50
"""How deep values may be nested."""

MOST_NESTED = 10
"""Most interpolations that lie within another one, whose growth cannot be told in advance."""

WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
HASH = "\ue000"  # of private use; stands for '#', which begins no comment on the command line
REFERENCE = re.compile(r"\$\{([^${}]*)\}")
STEP = re.compile(r"\.?((?:[^.\[\]\\]|\\.)+)|\[([^\[\]]*)\]")
TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null")}
TEXT, MERGE, VALUE = (f"tag:yaml.org,2002:{name}" for name in ("str", "merge", "value"))


class _Loader(yaml.SafeLoader):
    """Exponents need no decimal point, and dates are text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML's own)
        first: [(tag, rule) for tag, rule in rules if not tag.endswith((":timestamp", ":float"))]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"""[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?$ | [-+]?[0-9][0-9_]*[eE][-+]?[0-9]+$
        | [-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?$ | [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*$
        | [-+]?\.(?:inf|Inf|INF)$ | \.(?:nan|NaN|NAN)$""",
        re.VERBOSE,
    ),
    list("-+0123456789."),
)


@contextmanager
def mistakes_of(file: Path) -> Iterator[None]:
    """Turns every mistake of a file, of its overrides and of the files that it extends into a `UserError`."""
    try:
        yield
    except (UserError, pydantic.ValidationError):
        raise
    except RecursionError as error:
        raise UserError(f"{file}: is nested too deeply; an experiment needs a few levels.") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" in line {mark.line + 1}" if mark else ""
        raise UserError(f"{file}: is no valid YAML{where}: {' '.join(str(error.problem).split())}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: is no text in UTF-8; save it as such.") from error
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror or error}.") from error
    except Exception as error:  # only what the user wrote has been read so far
        raise UserError(f"{file}: cannot be understood: {' '.join(str(error).split())}.") from error


def read_file(file: Path) -> dict[Any, Any]:
    """The keys of an experiment file; `UserError` where it is none."""
    try:
        status = file.stat()
    except FileNotFoundError:
        raise UserError(f"{file}: there is no such file.") from None
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{file}: is no file; give an experiment file.")
    if status.st_size > LARGEST:
        raise UserError(f"{file}: has {status.st_size:,} bytes; an experiment file has at most {LARGEST:,}.")
    values = parse(file.read_text(encoding="utf-8-sig"))
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(f"{file}: an experiment is a mapping of keys to values; see the examples in experiments/.")
    return values


def parse(text: str) -> Any:
    """The values of a text in YAML."""
    node = yaml.compose(text, Loader=_Loader)
    return None if node is None else _Values().of(node)


class _Values:
    """Makes values of nodes, and counts them."""

    def __init__(self) -> None:
        self.count = 0
        self.scalars = SafeConstructor()

    def of(self, node: Node, depth: int = 0) -> Any:
        self.count += 1
        if self.count > MOST:
            raise _mistake(node, f"there are more than {MOST:,} values")
        if depth > DEEPEST:
            raise _mistake(node, f"values are nested more than {DEEPEST} deep")
        if isinstance(node, SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return [self.of(member, depth + 1) for member in node.value]
        if isinstance(node, MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self._mapping(node, depth)
        if isinstance(node, ScalarNode) and node.tag in TAGS | {VALUE}:
            return self._scalar(node)
        raise _mistake(node, f"{node.tag.removeprefix('tag:yaml.org,2002:')!r} is no type that a value may have here")

    def _mapping(self, node: MappingNode, depth: int) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        inherited: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                raise _mistake(key_node, "a key is text, not a list or mapping; put it in quotes")
            value = self.of(value_node, depth + 1)
            if key_node.tag == MERGE:
                for merged in reversed(value if isinstance(value, list) else [value]):
                    if not isinstance(merged, dict):
                        raise _mistake(value_node, "what is merged with '<<' must be a mapping")
                    inherited |= merged
                continue
            key = key_node.value
            if key_node.tag != TEXT and WHOLE.fullmatch(key):
                key = int(key)
            if key in values:
                raise _mistake(key_node, f"the key {key!r} is given twice")
            values[key] = value
        return inherited | values

    def _scalar(self, node: ScalarNode) -> Any:
        kind = node.tag.rpartition(":")[2]
        if kind in ("str", "value"):
            return node.value
        try:
            return getattr(self.scalars, f"construct_yaml_{kind}")(node)
        except (ValueError, KeyError, IndexError, OverflowError):
            raise _mistake(node, f"{node.value[:50]!r} is none of its kind ({kind})") from None


def _mistake(node: Node, sentence: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=sentence, problem_mark=node.start_mark)


def override(values: dict[Any, Any], overrides: Sequence[str]) -> None:
    """Replace values by those of ``key=value`` texts; nested keys with dots, places in lists in brackets."""
    for number, text in enumerate(overrides):
        key, equals, written = text.partition("=")
        if not equals:
            raise UserError(f"{shown(text)}: an override is written key=value, e.g. seeds=10.")
        try:
            value = _without_hash(parse(written.replace("#", HASH)))
        except (yaml.YAMLError, RecursionError) as error:
            if whole := _split_by_shell(overrides[number:]):
                raise UserError(f"{shown(text)}: the shell split this at a blank; put it in quotes: {whole}") from error
            reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "it is nested too deeply"
            raise UserError(f"{shown(text)}: the value is no valid YAML: {' '.join(str(reason).split())}.") from error
        _put(values, text, _steps(text, key), value)


def _split_by_shell(texts: Sequence[str]) -> str | None:
    """The first texts as one, in quotes, if together they are a value and the first alone is not."""
    for n in range(2, len(texts) + 1):
        whole = " ".join(texts[:n])
        try:
            parse(whole.partition("=")[2].replace("#", HASH))
        except (yaml.YAMLError, RecursionError):
            continue
        return shlex.quote(whole)
    return None


def _without_hash(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(HASH, "#")
    if isinstance(value, list):
        return [_without_hash(member) for member in value]
    if isinstance(value, dict):
        return {_without_hash(key): _without_hash(member) for key, member in value.items()}
    return value


def _steps(text: str, key: str) -> list[str]:
    steps, end = [], 0
    while match := STEP.match(key, end):
        steps.append(re.sub(r"\\(.)", r"\1", match[1]) if match[1] is not None else match[2])
        end = match.end()
    if not steps or end < len(key):
        raise UserError(f"{shown(text)}: {key!r} is no key; write it like learner.iterations or budgets[0].cycles.")
    return steps


def _put(values: Any, text: str, steps: list[str], value: Any) -> None:
    for number, step in enumerate(steps):
        place: Any = step
        if isinstance(values, list):
            if not re.fullmatch(r"-?\d{1,9}", step) or not -len(values) <= int(step) < len(values):
                before = ".".join(steps[:number])
                raise UserError(
                    f"{shown(text)}: {before} is a list of {len(values)}; name a place in it, like {before}[0]."
                )
            place = int(step)
        elif WHOLE.fullmatch(step) and step not in values:
            place = int(step)
        if number == len(steps) - 1:
            values[place] = value
            return
        inner = values[place] if isinstance(values, list) else values.get(place)
        if isinstance(inner, str):  # the short form of a component
            inner = {"sampler" if steps[0] == "samplers" and number == 1 else "name": inner}
        elif inner is None:
            inner = {}
        elif not isinstance(inner, dict | list):
            raise UserError(f"{shown(text)}: {'.'.join(steps[: number + 1])} is {shown(inner)}, which has no keys.")
        values[place] = inner
        values = inner


def interpolated(file: Path, values: dict[Any, Any]) -> Any:
    """The values with ``${...}`` replaced; `UserError` where one means nothing."""
    if not _any_interpolation(values):
        return values
    _Growth(file, values).of((), values)
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return OmegaConf.to_container(OmegaConf.create(values), resolve=True)
    except (OmegaConfBaseException, ValueError, TypeError, KeyError, AttributeError, AssertionError) as error:
        key, (reason, *_) = getattr(error, "full_key", None), str(error).splitlines() or [type(error).__name__]
        where = f"{key}: " if key else ""
        raise UserError(f"{file}: {where}an interpolation ${{...}} cannot be replaced: {reason}.") from error


class _Growth:
    """Refuses interpolations that double themselves again and again, before they are replaced."""

    def __init__(self, file: Path, values: dict[Any, Any]) -> None:
        self._file, self._values = file, values
        self._sizes: dict[tuple[Any, ...], int] = {}
        self._nested = 0

    def of(self, place: tuple[Any, ...], value: Any) -> int:
        """Characters of a value whose interpolations are replaced, at least one for each value in it."""
        if place in self._sizes:
            return self._sizes[place]
        self._sizes[place] = 0  # a value within itself is refused when it is replaced
        size = 1
        if isinstance(value, dict | list):
            members = value.items() if isinstance(value, dict) else enumerate(value)
            size += sum(self.of((*place, key), member) for key, member in members)
        elif isinstance(value, str):
            size += len(value) + self._of_interpolations(place, value)
        if size > LARGEST:
            what = ".".join(map(str, place)) or "the experiment"
            raise UserError(
                f"{self._file}: interpolations ${{...}} make {what} longer than {LARGEST:,} characters; write out what "
                f"you need."
            )
        self._sizes[place] = size
        return size

    def _of_interpolations(self, place: tuple[Any, ...], text: str) -> int:
        references = REFERENCE.findall(text)
        self._nested += text.count("${") - len(references)
        if self._nested > MOST_NESTED:
            raise UserError(f"{self._file}: more than {MOST_NESTED} interpolations lie within others; write them out.")
        # Arguments of a function may be keys, too.
        targets = [self._target(place, name.strip()) for inner in references for name in re.split("[:,]", inner)]
        return sum(self.of(*target) for target in targets if target is not None)

    def _target(self, place: tuple[Any, ...], name: str) -> tuple[tuple[Any, ...], Any] | None:
        """Place and value of what is named, with dots before the name seen from where the interpolation stands."""
        up = len(name) - len(name.lstrip("."))
        steps = [*place[: len(place) - up]] if up else []
        steps += [first or second for first, second in STEP.findall(name[up:])]
        value: Any = self._values
        for number, step in enumerate(steps):
            keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
            steps[number] = int(step) if step not in keys and WHOLE.fullmatch(str(step)) else step
            if steps[number] not in keys:
                return None
            value = value[steps[number]]
        return tuple(steps), value


def _any_interpolation(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_any_interpolation, [*value, *value.values()]))
    return any(map(_any_interpolation, value)) if isinstance(value, list) else isinstance(value, str) and "${" in value
