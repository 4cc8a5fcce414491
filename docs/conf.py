"""How Sphinx makes the site: from the Markdown of the whole repository, fetching nothing from elsewhere."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

project = "Satchel"
author = "The Satchel authors"
copyright = author  # noqa: A001 - Sphinx calls it so
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "tools.site.extension"]

# The source is the repository, so that a README and a page are one file, and a link means the same in both.
root_doc = "docs/index"
include_patterns = ["docs/**", "*/README.md", "packages/*/README.md", "examples/satchel-*/README.md", "*.md"]
exclude_patterns = [".*", "**/.*", "**/node_modules", "**/src", "**/tests", "README.md", "dist", "tools"]
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["attrs_inline"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
add_module_names = False
default_role = "py:obj"
napoleon_custom_sections = [("Attributes", "params_style")]
napoleon_use_rtype = False
toc_object_entries_show_parents = "hide"
suppress_warnings = ["misc.highlighting_failure"]

html_theme = "furo"
html_title = "Satchel"
html_static_path = ["_static"]
html_css_files = ["satchel.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
html_theme_options = {"top_of_page_buttons": []}
pygments_style = "tools.site.colours.Light"
pygments_dark_style = "tools.site.colours.Dark"
