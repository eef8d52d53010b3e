"""What mkdocs does beyond its pages: takes pages in from outside docs/, fixes links, equations.

A page reads the same in the repository and on the site: its links are those of the repository. Here
a link to a page of the site leads there, and one to anything else becomes the name of the file.
A notebook is shown as `make notebooks` has executed it, or else its source without outputs.
"""

import fnmatch
import logging
import os
import re
from pathlib import Path

import jupytext
import latex2mathml.converter
import nbconvert
from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent.parent
TAKEN_IN = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "notebooks/README.md": "notebooks/index.md",
}
TAKEN_IN |= {
    str(path.relative_to(ROOT)): f"apps/{path.parent.name}.md"
    for path in sorted(ROOT.glob("apps/*/README.md"))
}
NOTEBOOKS = {
    str(path.relative_to(ROOT)): f"notebooks/{path.stem}.md"
    for path in sorted(ROOT.glob("notebooks/*.py"))
}
SOURCES = TAKEN_IN | NOTEBOOKS
# A folder is the page of its README, or else its first page.
PAGE_OF = SOURCES | {str(Path(source).parent): page for source, page in TAKEN_IN.items()}
for folder in sorted(path.parent for path in (ROOT / "docs").glob("*/*.md")):
    pages = sorted(folder.glob("*.md"), key=lambda path: (path.name != "README.md", path.name))
    PAGE_OF[str(folder.relative_to(ROOT))] = str(pages[0].relative_to(ROOT / "docs"))
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.DOTALL | re.MULTILINE)
_OUTPUT = re.compile(r"(^```.*?^```|`[^`\n]+`|(?:^ {4}[^\n]*\n)+)", re.DOTALL | re.MULTILINE)
_EQUATION = re.compile(r"\$\$(.+?)\$\$|(?<![\w$\\])\$([^$\s][^$\n]*?)\$(?!\w)", re.DOTALL)

logger = logging.getLogger("mkdocs")


def on_config(config):
    """Replaces each pattern in the navigation, such as `results/*.md`, by the pages that fit it."""
    docs = ROOT / "docs"
    pages = {str(path.relative_to(docs)) for path in docs.rglob("*.md")} | set(SOURCES.values())
    named = {page for pages_of in config.nav for page in _names(pages_of)}
    for section in config.nav:
        for name, entries in section.items():
            section[name] = [
                page
                for entry in entries
                for page in (
                    sorted(fnmatch.filter(pages - named, entry)) if "*" in entry else [entry]
                )
            ]
    return config


def _names(section: dict[str, list[str]]) -> list[str]:
    return [entry for entries in section.values() for entry in entries]


def on_files(files, config):
    """Adds the pages from outside docs/."""
    for source, page in TAKEN_IN.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
    for source, page in NOTEBOOKS.items():
        text, pictures = _as_page(ROOT / source)
        files.append(File.generated(config, page, content=text))
        for name, content in pictures.items():
            files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def _as_page(source: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook as Markdown with its outputs, and the pictures in it by name."""
    executed = source.with_suffix(".ipynb")
    if not executed.exists():
        logger.info("%s: not executed, so without outputs: `make notebooks`", source.name)
    notebook = jupytext.read(executed if executed.exists() else source)
    # Outputs in the order of what a page can show; a script of a widget is not among them.
    exporter = nbconvert.MarkdownExporter()
    exporter.display_data_priority = ["text/markdown", "image/png", "text/html", "text/plain"]
    text, resources = exporter.from_notebook_node(
        notebook, {"unique_key": source.stem, "output_files_dir": f"{source.stem}_files"}
    )
    return text, resources.get("outputs", {})


def on_page_markdown(markdown, page, config, files):
    """Links and equations of one page, outside of its code."""
    sources = {site: source for source, site in SOURCES.items()}
    source = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    on_site = {file.src_uri for file in files}
    # What a notebook prints is indented, and no text.
    code = _OUTPUT if source in NOTEBOOKS else _FENCE
    parts = code.split(markdown)
    for place in range(0, len(parts), 2):
        text = _LINK.sub(
            lambda link: _relinked(link, source, page.file.src_uri, on_site), parts[place]
        )
        parts[place] = _EQUATION.sub(_as_mathml, text)
    return "".join(parts)


def _relinked(link: re.Match, source: str, page: str, on_site: set[str]) -> str:
    picture, text, path, anchor = link.groups()
    target = os.path.normpath(os.path.join(os.path.dirname(source), path))
    if target in PAGE_OF:
        site = PAGE_OF[target]
    elif target.startswith("docs/"):
        site = target.removeprefix("docs/")
    elif target in on_site:  # a picture in a notebook
        site = target
    else:
        return text if text.startswith("`") else f"`{text}`"
    return f"{picture}[{text}]({os.path.relpath(site, os.path.dirname(page) or '.')}{anchor or ''})"


def _as_mathml(equation: re.Match) -> str:
    display, inline = equation.groups()
    kind = "block" if display else "inline"
    return latex2mathml.converter.convert(display or inline, display=kind)
