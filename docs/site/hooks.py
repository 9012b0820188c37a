"""What mkdocs does besides: equations become MathML, the code's modules get pages, linked files come along."""

import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from mkdocs.utils import get_relative_url

ROOT = Path(__file__).parents[2]
LAYERS = ("platform", "actors", "experiments")
SOURCES = ROOT / "build" / "site-sources"
"""Where mkdocstrings reads the code as the package `decomp`; nothing is imported."""

EQUATION = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
SECTION = re.compile(r"Sec\. (?P<first>\d+)(?: and (?P<second>\d+))?(?=\s+of\s+the\s+method\s+notes)")
LITERAL = re.compile(r"::</p>(?=\s*<(?:div|pre))")
"""Docstrings announce a block of code with two colons."""

ROOT_PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Pages of the site whose sources lie in the root, where whoever opens the repository looks for them."""

OUTSIDE = re.compile(r"\]\((?P<link>(?:\.\./)+[^)#\s]+)\)")


@event_priority(100)  # before mkdocstrings, which forgets a path that does not exist yet
def on_config(config: Any) -> None:
    """Lay the layers out as one regular package, which is what mkdocstrings can read without importing it."""
    shutil.rmtree(SOURCES, ignore_errors=True)
    for layer in LAYERS:
        folder = SOURCES / "decomp" / layer
        shutil.copytree(ROOT / layer, folder, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "__init__.py").touch()
    (SOURCES / "decomp" / "__init__.py").touch()


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie in the root, and one for every module that no written page describes."""
    for source, page in ROOT_PAGES.items():
        content = (ROOT / source).read_text().replace("](docs/", "](")
        for name, address in ROOT_PAGES.items():
            content = content.replace(f"]({name})", f"]({address})")
        files.append(File.generated(config, page, content=content))
    written = "\n".join(path.read_text() for path in (ROOT / "docs" / "api").glob("*.md"))
    described = set(re.findall(r"^::: (\S+)", written, re.MULTILINE))
    packages: dict[str, list[dict[str, str]]] = {}
    for layer in LAYERS:
        for path in sorted((ROOT / layer).rglob("*.py")):
            package = ".".join(path.parent.relative_to(ROOT).parts)
            module = f"decomp.{package}" + ("" if path.stem == "__init__" else f".{path.stem}")
            if module in described or path.stem == "__main__":
                continue
            page = f"api/modules/{module}.md"
            files.append(File.generated(config, page, content=f"# `{module}`\n\n::: {module}\n"))
            packages.setdefault(package, []).append({module.rsplit(".", 1)[1]: page})
    reference = next(entry["Reference"] for entry in config.nav if "Reference" in entry)
    reference[-1] = {"All modules": [{package: pages} for package, pages in sorted(packages.items())]}
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Bring along the files of the repository outside docs/ that a page links to, so that links work in both places."""

    def copied(match: re.Match[str]) -> str:
        target = (Path(page.file.abs_src_path).parent / match["link"]).resolve()
        if target.is_relative_to(ROOT / "docs") or not target.is_file():
            return match[0]
        to_root = "../" * page.file.src_uri.count("/")
        if target.name in ROOT_PAGES:
            return f"]({to_root}{ROOT_PAGES[target.name]})"
        name = f"repository/{target.relative_to(ROOT)}"
        if files.get_file_from_path(name) is None:
            files.append(File.generated(config, name, abs_src_path=str(target)))
        return f"]({to_root}{name})"

    return OUTSIDE.sub(copied, markdown)


def on_page_content(html: str, page: Any, config: Any, files: Files) -> str:
    """Turn LaTeX into MathML, which browsers show by themselves, and citations of the method notes into links.

    Raises:
        PluginError: if an equation has a command that cannot be converted.
    """
    notes = get_relative_url("method.html", page.url)

    def equation(match: re.Match[str]) -> str:
        latex = unescape(match[2])
        mathml = str(convert(latex, display="block" if match[1] == "div" else "inline"))
        if "\\" in mathml:  # a command that the converter does not know is printed as it is
            raise PluginError(
                f"{page.file.src_uri}: not all of the equation {latex!r} can be converted; write it otherwise."
            )
        return mathml

    def citation(match: re.Match[str]) -> str:
        return " and ".join(
            f'<a href="{notes}#sec-{number}">{"Sec. " if number == match["first"] else ""}{number}</a>'
            for number in match.groups()
            if number
        )

    return LITERAL.sub(":</p>", SECTION.sub(citation, EQUATION.sub(equation, html)))
