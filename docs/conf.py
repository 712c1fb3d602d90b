"""How the documentation is built. Nothing is fetched while it is built, nor when it is read.

python -m sphinx -W --keep-going docs build/documentation
"""

import sys
from pathlib import Path

import topomae

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "extensions"))

project = "TopoMAE"
author = "The TopoMAE developers"
project_copyright = "The TopoMAE developers, Apache-2.0"
version = release = topomae.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "formulas",
    "generated_pages",
]
exclude_patterns = ["extensions"]
nitpicky = False  # types in signatures name classes of torch and NumPy, whose pages are elsewhere

# Pages
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
myst_links_external_new_tab = False
html_math_renderer = "formulas"
highlight_language = "text"  # of blocks that name none

# Docstrings: in them, `x` is code, and "Attributes" of a class describe its arguments as well.
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Looks
html_theme = "furo"
html_title = "TopoMAE"
html_logo = "../Resources/TopoMAE.png"
html_favicon = "../Resources/TopoMAE.png"
html_static_path = ["static"]
html_css_files = ["topomae.css"]
html_show_sphinx = False
html_copy_source = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#005b8f", "color-brand-content": "#0072b2"},
    "dark_css_variables": {"color-brand-primary": "#56b4e9", "color-brand-content": "#56b4e9"},
}
copybutton_prompt_text = "$ "
