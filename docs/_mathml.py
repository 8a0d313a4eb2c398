"""Formulas as MathML, which browsers draw by themselves: no script, and nothing to fetch."""

from __future__ import annotations

import html
import re
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.locale import _
from sphinx.util.math import get_node_equation_number

__all__ = ["setup"]

_ACCENTS = ("ˆ", "^", "~", "˜", "¯")


_NAMESPACE = "http://www.w3.org/1998/Math/MathML"


def _mathml(text: str, as_block: bool = False) -> str:
    """MathML of a formula in LaTeX.

    docutils puts the subscript of a letter with an accent below the letter; it belongs beside it.
    """
    ElementTree.register_namespace("", _NAMESPACE)
    found = tex2mathml(text.strip(), as_block=as_block)
    # XML knows five entities, MathML many.
    found = re.sub(r"&(?!lt;|gt;|amp;)\w+;", lambda entity: html.unescape(entity[0]), found)
    root = ElementTree.fromstring(found)
    for element in root.iter(f"{{{_NAMESPACE}}}munderover"):
        letter, subscript, over = element
        if (over.text or "").strip() in _ACCENTS:
            accented = ElementTree.Element(f"{{{_NAMESPACE}}}mover", {"accent": "true"})
            accented.extend([letter, over])
            element.tag = f"{{{_NAMESPACE}}}msub"
            element[:] = [accented, subscript]
    return ElementTree.tostring(root, encoding="unicode")


def _inline(self, node) -> None:
    self.body.append(_mathml(node.astext()))
    raise nodes.SkipNode


def _block(self, node) -> None:
    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight"))
    if node["number"]:
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})')
        self.add_permalink_ref(node, _("Link to this equation"))
        self.body.append("</span>")
    self.body.append(_mathml(node.astext(), as_block=True))
    self.body.append("</div>\n")
    raise nodes.SkipNode


def setup(app) -> dict[str, bool]:
    """Called by sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
