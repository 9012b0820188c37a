"""The digest of the source of a user's own class, a part of what identifies a run.

It covers the class, all definitions of its module that it refers to, directly or through others, and the whole of the
user's modules that these import. Statements that define nothing, such as calls, always count. Comments, blank lines,
docstrings and the layout do not. decomp does not count as a module of the user, nor do installed packages, except the
one that the class is in. Nothing is imported to compute it.
"""

import ast
import hashlib
import importlib.util
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

INSTALLED = {"site-packages", "dist-packages"}
STANDARD_LIBRARY = Path(os.__file__).resolve().parent
ANNOTATION = re.compile(r"[\w\[\], .|]+")
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)


def code_of(module: str, name: str) -> str:
    """Hexadecimal digest of the source of `name` in a module that is imported already."""
    try:
        parts = list(_Source(module).parts(name))
    except RecursionError:  # in expressions of a thousand terms
        parts = [_content(module)]
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()


class _Source:
    """Source of a class, found from the module that names it; `seen` holds the modules that it covers as a whole."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.seen: set[str] = set()

    def parts(self, name: str) -> Iterator[bytes]:
        """The parts of the source, in an order that depends on the source alone."""
        tree = _parsed(_content(self.module))
        bound = _bindings(tree.body) if tree else {}
        if tree is None or name not in bound:  # compiled, or defined by no statement of the module
            yield from self._wholes([self.module])
            return
        self.seen.add(self.module)
        used = [statement for statement in tree.body if _acts(statement)]
        names = [name, *(word for statement in used for word in _references(statement))]
        known: set[str] = set()
        while names:
            if (wanted := names.pop()) in known:
                continue
            known.add(wanted)
            for statement in bound.get(wanted, ()):
                if statement not in used:
                    used.append(statement)
                    names += _references(statement)
        used.sort(key=lambda statement: (statement.lineno, statement.col_offset))
        yield from map(_outline, used)
        yield from self._wholes([*_with_parents(self.module)][:-1])
        yield from self._wholes(_imported(used, self.module))

    def _wholes(self, modules: Iterable[str]) -> Iterator[bytes]:
        for module in sorted(set(modules)):
            if module in self.seen or not self._is_own(module):
                continue
            self.seen.add(module)
            content = _content(module)
            tree = _parsed(content)
            yield module.encode() + b"\n" + (_outline(tree) if tree else content)
            yield from self._wholes(_imported([tree], module) if tree else [])

    def _is_own(self, module: str) -> bool:
        file, package = _file_of(module), module.partition(".")[0]
        if file is None or package == "decomp":
            return False
        if package == self.module.partition(".")[0]:
            return True
        return not INSTALLED.intersection(file.parts) and not file.resolve().is_relative_to(STANDARD_LIBRARY)


def _bindings(body: list[ast.stmt]) -> dict[str, list[ast.stmt]]:
    """The statements of a module by the names that they bind."""
    bound: dict[str, list[ast.stmt]] = {}
    for statement in body:
        names: set[str] = set()
        for node in [statement] if isinstance(statement, DEFINITIONS) else ast.walk(statement):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    names.add(name)
                case ast.Import() | ast.ImportFrom():
                    names |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
                case ast.Name(id=name, ctx=ast.Store()):
                    names.add(name)
        for name in names:
            bound.setdefault(name, []).append(statement)
    return bound


def _acts(statement: ast.stmt) -> bool:
    """Whether a statement counts although nobody refers to what it binds."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef() | ast.Import():
            return False
        case ast.ImportFrom():
            return any(alias.name == "*" for alias in statement.names)
        case ast.Assign(targets=targets):  # but `Network.forward = faster`
            return any(not isinstance(target, ast.Name | ast.Tuple | ast.List) for target in targets)
        case ast.AnnAssign(target=target):
            return not isinstance(target, ast.Name)
        case ast.If(test=ast.Compare(left=ast.Name(id="__name__"))):  # does not act in an import
            return False
    return not _is_remark(statement)


def _references(tree: ast.AST) -> Iterator[str]:
    """Names in a tree, those in annotations written as strings included."""
    if _is_remark(tree):
        return
    match tree:
        case ast.Name(id=name):
            yield name
        case ast.Constant(value=str(text)) if ANNOTATION.fullmatch(text):
            yield from re.findall(r"\w+", text)
    for child in ast.iter_child_nodes(tree):
        yield from _references(child)


def _imported(trees: Iterable[ast.AST], module: str) -> Iterator[str]:
    """Modules that are imported anywhere in a tree, with the packages that they are in."""
    package = module if _is_package(module) else module.rpartition(".")[0]
    for node in (node for tree in trees for node in ast.walk(tree) if isinstance(node, IMPORTS)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            relative = "." * node.level + (node.module or "")
            try:
                base = importlib.util.resolve_name(relative, package) if node.level else relative
            except ImportError:  # in a statement that was never reached
                continue
            names = [f"{base}.{alias.name}" for alias in node.names]
        for name in names:
            yield from _with_parents(name)


def _with_parents(module: str) -> Iterator[str]:
    """The packages that a module is in, outermost first, and itself."""
    pieces = module.split(".")
    return (".".join(pieces[:n]) for n in range(1, len(pieces) + 1))


def _outline(tree: ast.AST) -> bytes:
    """A tree without layout, comments and docstrings; the same in all versions of Python that can read it."""
    return repr(_shape(tree)).encode(errors="surrogatepass")


def _shape(node: Any) -> Any:
    if isinstance(node, list):
        return [_shape(member) for member in node if not _is_remark(member)]
    if not isinstance(node, ast.AST):
        return node
    fields = ((name, _shape(value)) for name, value in ast.iter_fields(node) if name not in ("ctx", "kind"))
    return (type(node).__name__, *((name, shape) for name, shape in fields if shape not in (None, [])))


def _is_remark(node: Any) -> bool:
    """Whether it is a string that stands alone, as docstrings do."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _parsed(content: bytes) -> ast.Module | None:
    try:
        return ast.parse(content)
    except (SyntaxError, ValueError):  # compiled
        return None


def _content(module: str) -> bytes:
    """The source of a module, or its compiled file."""
    file = _file_of(module)
    if file is not None and file.is_file():
        return file.read_bytes()
    loader = getattr(sys.modules.get(module), "__loader__", None)  # for a module in an archive
    source = loader.get_source(module) if loader is not None and hasattr(loader, "get_source") else None
    return (source or "").encode()


def _is_package(module: str) -> bool:
    file = _file_of(module)
    return file is not None and file.stem == "__init__"


def _file_of(module: str) -> Path | None:
    """The file of a module, imported or not."""
    if module in sys.modules:
        file = getattr(sys.modules[module], "__file__", None)
        return Path(file) if file else None
    package, _, name = module.rpartition(".")
    places = (folder / tail for folder in _folders(package) for tail in (f"{name}/__init__.py", f"{name}.py"))
    return next((place for place in places if place.is_file()), None)


def _folders(package: str) -> list[Path]:
    """The folders that hold the modules of a package; without a package, the top-level modules."""
    if not package:
        return [Path(entry) for entry in sys.path]
    if package in sys.modules:
        return [Path(entry) for entry in getattr(sys.modules[package], "__path__", [])]
    outer, _, name = package.rpartition(".")
    return [folder / name for folder in _folders(outer) if (folder / name).is_dir()]
