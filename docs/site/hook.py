"""What mkdocs does beyond its pages: takes pages in from outside docs/, mends links, equations.

A page reads the same in the repository and on the site: its links are those of the repository. Here
a link to a page of the site leads there, and one to anything else becomes the name of the file.
"""

import os
import re
from pathlib import Path

import latex2mathml.converter
from mkdocs.structure.files import File

ROOT = Path(__file__).parent.parent.parent
TAKEN_IN = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
TAKEN_IN |= {
    str(path.relative_to(ROOT)): f"apps/{path.parent.name}.md"
    for path in sorted(ROOT.glob("apps/*/README.md"))
}
# A folder is the page of its README.
PAGE_OF = TAKEN_IN | {str(Path(source).parent): TAKEN_IN[source] for source in TAKEN_IN}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.DOTALL | re.MULTILINE)
_EQUATION = re.compile(r"\$\$(.+?)\$\$|(?<![\w$\\])\$([^$\s][^$\n]*?)\$(?!\w)", re.DOTALL)


def on_files(files, config):
    """Adds the pages from outside docs/."""
    for source, page in TAKEN_IN.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links and equations of one page, outside of its code."""
    sources = {site: source for source, site in TAKEN_IN.items()}
    source = sources.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    parts = _FENCE.split(markdown)
    for place in range(0, len(parts), 2):
        text = _LINK.sub(lambda found: _relinked(found, source, page.file.src_uri), parts[place])
        parts[place] = _EQUATION.sub(_as_mathml, text)
    return "".join(parts)


def _relinked(found: re.Match, source: str, page: str) -> str:
    picture, text, link, anchor = found.groups()
    target = os.path.normpath(os.path.join(os.path.dirname(source), link))
    if target in PAGE_OF:
        site = PAGE_OF[target]
    elif target.startswith("docs/"):
        site = target.removeprefix("docs/")
    else:
        return text if text.startswith("`") else f"`{text}`"
    return f"{picture}[{text}]({os.path.relpath(site, os.path.dirname(page) or '.')}{anchor or ''})"


def _as_mathml(found: re.Match) -> str:
    display, inline = found.groups()
    kind = "block" if display else "inline"
    return latex2mathml.converter.convert(display or inline, display=kind)
