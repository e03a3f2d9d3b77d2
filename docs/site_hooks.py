"""Hooks of mkdocs: pages of the site that are files outside of docs/, and links between them."""

import os
import re
from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
# Page of the site -> file of the repository.
OUTSIDE = {
    "index.md": "README.md",
    "datasets.md": "datasets/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "security.md": "SECURITY.md",
    "changelog.md": "CHANGELOG.md",
    "model_card.md": "demo/MODEL_CARD.md",
}
LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)\s]*)?\))")


def on_files(files, config):
    """Add the pages from outside of docs/."""
    for page, source in OUTSIDE.items():
        text = (ROOT / source).read_text()
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page, **_) -> str:
    """Point links to files of the repository to their pages; those to source code become text."""
    source = OUTSIDE.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    pages = {path: name for name, path in OUTSIDE.items()}

    def on_site(match: re.Match) -> str:
        path = os.path.normpath(os.path.join(os.path.dirname(source), match[2]))
        inside = path.removeprefix("docs/") if path.startswith("docs/") else pages.get(path)
        return f"{match[1]}{inside or 'reference.md'}{match[3]}"

    return LINK.sub(on_site, markdown)
