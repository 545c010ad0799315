"""What mkdocs.yml calls: pages made of files that stand elsewhere, and how docstrings are read."""

from pathlib import Path

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parent.parent


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add README as the first page, its sisters, the code that it links to, and the tour."""
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        page = "index.md" if name == "README.md" else name
        text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        text = text.replace("](tour.ipynb", "](tour.md")
        files.append(File.generated(config, page, content=text))
    code = "src/manual_bp/backprop.py"
    files.append(File.generated(config, code, abs_src_path=str(ROOT / code)))

    tour, made = MarkdownExporter().from_filename(ROOT / "docs" / "tour.ipynb")
    files.append(File.generated(config, "tour.md", content=tour))
    for name, picture in made["outputs"].items():
        files.append(File.generated(config, name, content=picture))


class Examples(griffe.Extension):
    """Read a docstring's `Example:` as the section that Griffe calls `Examples:`."""

    def on_object(self, *, obj: griffe.Object, **_: object) -> None:
        """Rename the section."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
