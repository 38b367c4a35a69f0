#!/usr/bin/env python3
"""The site in _docs/, from the notebooks as they are stored: no cell is run again, and a page loads nothing from outside.

    python .ci/docs.py [--to FOLDER]        after pip install -c constraints.txt -e '.[dev,docs]'

nbdev's `proc_nbs` hides, cleans and links the cells and says where a definition is documented; its signature, comments and docstring
are shown as the source has them. Sphinx makes the pages and the search, and ends with an error at a link that leads nowhere.
"""
import argparse
import ast
import os
import re
import shutil
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import nbformat
from docutils.utils.math.latex2mathml import tex2mathml
from nbdev.serve import proc_nbs
from nbdev.showdoc import showdoc_nm
from sphinx.application import Sphinx

root = Path(__file__).resolve().parent.parent
functions = ast.FunctionDef | ast.AsyncFunctionDef
directive = re.compile(r"^#\|\s*(\w+)[ :]*(.*)\n?", re.M)
sections = {"Guides": "tutorials/*.ipynb", "Environments": "envs/*.ipynb", "API": "[0-9]*.ipynb", "Models": "models/*.ipynb"}
guides = ["first_environment", "reward_profile", "tools_and_state", "open_nemo_gym", "train_with_grpo", "notebook_to_pull_request", "real_model_on_a_gpu"] # in the order in which they are read; others follow
style = """
@media (min-width: 92em) { .content { width: 54em; } }
article { overflow-wrap: break-word; }
article h2 { font-size: 1.7em; }
article h3 { font-size: 1.25em; }
article h4 { font-size: 1.1em; }
article :is(h3, h4) { margin-top: 1.5rem; }
article :is(h2, h3, h4) code.literal { padding: 0; border: 0; background: none; font-size: .95em; }
.toc-tree code.literal { padding: 0; border: 0; background: none; font-size: inherit; overflow-wrap: anywhere; }
.cell_output, .cell_output .output { overflow-x: auto; }
.cell_output table { margin: .5rem 0; border: 0; border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
.cell_output table caption { padding: .25rem 0; color: var(--color-foreground-secondary); text-align: left; }
.cell_output :is(th, td) { padding: .3rem .7rem; border: 0; border-bottom: 1px solid var(--color-background-border); color: var(--color-foreground-primary); background: none; white-space: nowrap; text-align: right; }
.cell_output :is(th, td)[style*="left"] { text-align: left; }
.cell_output thead th { border-bottom: 2px solid var(--color-foreground-border); }
.cell_output img { max-width: 100%; height: auto; padding: .5rem; border-radius: .3rem; background: white; }
.cell_output pre { white-space: pre; overflow-x: auto; }
.toc-tree span.pre { white-space: normal; }
.highlight :is(.nn, .nc) { text-decoration: none !important; }
div.cell { margin: 1rem 0; }
div.cell div.cell_input { border-color: var(--color-background-border); border-left-color: var(--color-brand-primary); }
div.cell div.cell_output { margin-top: .4rem; }
details.source { margin: .25rem 0 1.5rem; }
details.source > summary { width: max-content; color: var(--color-foreground-secondary); font-size: .85rem; cursor: pointer; }
"""


@dataclass
class Page:
    "A notebook, what it defines, and what its pages need of the stored form."
    notebook: Path
    name: str # its place without the ending: envs/addition
    module: str|None # where its exported cells go
    nodes: dict # name -> (node, source of its cell)
    title: str # the first markdown cell


def directives(source: str) -> dict: # name -> value
    "The `#|` lines of a cell."
    return {name: value.strip() for name, value in directive.findall(source)}


def public(name: str) -> bool: return not name.startswith("_")


def label(module: str, name: str, node) -> str:
    "The target of a definition's links; Sphinx does not tell capitals from small letters."
    return f"{'class' if isinstance(node, ast.ClassDef) else 'function'}.{module}.{name}"


def prepare(notebook: Path, to: Path) -> Page:
    "A copy for `proc_nbs` that runs nothing; exported cells of an example stay in sight, for there they are what is looked for."
    nb = nbformat.read(notebook, as_version=4)
    page = Page(notebook, str(notebook.relative_to(root/"nbs").with_suffix("")), None, {}, "")
    example = "/" in page.name
    cells = [nbformat.v4.new_raw_cell("---\ntitle: none\nskip_showdoc: true\n---")]
    for cell in nb.cells:
        if cell.cell_type == "markdown" and not page.title: page.title = cell.source; continue
        if cell.cell_type == "code":
            names = directives(cell.source)
            page.module = names.get("default_exp", page.module)
            if "export" in names and example: cell.source = directive.sub("", cell.source)
            elif "export" in names:
                source = directive.sub("", cell.source)
                page.nodes |= {showdoc_nm(o): (o, source) for o in ast.parse(source).body if isinstance(o, functions | ast.ClassDef) and public(o.name)}
        cells.append(cell)
    nb.cells = cells
    to.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, to)
    return page


def method_name(name: str, node) -> str|None: # Class.method
    "The name of a method, also of one that is a function whose `self` says its class; of anything else None."
    if "." in name: return name
    first = node.args.args[:1] if isinstance(node, functions) else []
    return f"{first[0].annotation.id}.{name}" if first and first[0].arg == "self" and isinstance(first[0].annotation, ast.Name) else None


def in_order(cells: list, page: Page) -> list: # pairs: a cell, and the name that it documents or None
    "nbdev shows the definitions of one cell from the last to the first; here they stand as they were written."
    found = [re.search(r"^show_doc\(([\w.]+)\)", o.source, re.M) if o.cell_type == "code" else None for o in cells]
    pairs = []
    for known, group in groupby(zip(cells, (o and o[1] for o in found)), lambda pair: page.nodes[pair[1]][1] if pair[1] in page.nodes else None):
        pairs += sorted(group, key=lambda pair: page.nodes[pair[1]][0].lineno) if known else [o for o in group if not o[1]]
    return pairs


def head_row(node) -> int: return min([node.lineno, *(o.lineno for o in getattr(node, "decorator_list", []))])


def rows(source: str, first: int, last: int, column: int|None = None) -> str: # rows from 1, the column in bytes, as in `ast`
    "A part of a source, up to a column of its last row."
    found = [o.encode() for o in source.splitlines()[first-1:last]]
    found[-1] = found[-1][:column]
    return textwrap.dedent(b"\n".join(found).decode()).rstrip()


def signature(node, source: str) -> str:
    "The head of a definition as it is written, with its comments; of a class its fields too."
    head = rows(source, head_row(node), node.body[0].lineno, node.body[0].col_offset)
    if not isinstance(node, ast.ClassDef): return head
    name = lambda o: ast.unparse(o.target if isinstance(o, ast.AnnAssign) else o.targets[0])
    fields = [o for o in node.body if isinstance(o, ast.AnnAssign | ast.Assign) and public(name(o))]
    return "\n".join([head, *(textwrap.indent(rows(source, o.lineno, o.end_lineno), "    ") for o in fields)])


def escaped(text: str, link) -> str:
    "A docstring as markdown: nothing but its `code` means more than it says; `link` makes of that what it likes."
    parts = re.split(r"(`[^`\n]+`)", text)
    return "".join(link(o) if i % 2 else re.sub(r"([\\`*_{}\[\]<>$#|~^])", r"\\\1", o) for i, o in enumerate(parts))


def entry(name: str, node, source: str, level: int, label: str, link) -> str:
    "What a page says of a definition: its name, signature, docstring, methods and source."
    fence = "`"*4
    doc = escaped(ast.get_docstring(node) or "", link)
    parts = [f"({label})=\n{'#'*level} `{name}`", f"{fence}python\n{signature(node, source)}\n{fence}", doc]
    for o in node.body if isinstance(node, ast.ClassDef) else []:
        if isinstance(o, functions) and public(o.name) and ast.get_docstring(o):
            parts += [f"({label}.{o.name})=\n{'#'*(level + 1)} `{name}.{o.name}`", f"{fence}python\n{signature(o, source)}\n{fence}", escaped(ast.get_docstring(o), link)]
    whole = rows(source, head_row(node), node.end_lineno)
    parts.append(f'<details class="source"><summary>Source</summary>\n\n{fence}python\n{whole}\n{fence}\n\n</details>')
    return "\n\n".join(o for o in parts if o)


def linked(code: str) -> bool: # `code` with its backticks
    "Whether a name can be taken for a definition's: a word such as `request` often means something else."
    return bool(re.search(r"[_A-Z]|\(\)", code))


def local_links(text: str, labels: dict) -> str: # labels: (html page of nbdev, name) -> target
    "Links to notebooks and their pages, which Sphinx then checks; nbdev's links to what it knows."
    def symbol(found):
        page, _, name = found[2].rpartition("/")[2].partition("#")
        target = labels.get((page, name)) if "gymenv_nb" in found[2] and linked(found[1]) else None
        return f"[{found[1]}](#{target})" if target else found[1]
    text = re.sub(r"\[(`[^`]+`)\]\((https://[^)\s]*\.html#[^)\s]*)\)", symbol, text)
    return re.sub(r"\]\((?!https?:|#)(?:nbs/)?([\w./-]+?)\.(?:html|ipynb)(#[^)]*)?\)", r"](\1.ipynb\2)", text)


def finish(page: Page, processed: Path, to: Path, pages: list, labels: dict):
    "The notebook that Sphinx reads."
    nb = nbformat.read(processed, as_version=4)
    def link(code):
        name = code.strip("`").removesuffix("()")
        here = next((o for o in (page, *pages) if name in o.nodes), None)
        return f"[{code}](#{label(here.module, name, here.nodes[name][0])})" if here and linked(code) else code
    cells, level, above = [nbformat.v4.new_markdown_cell(page.title)], 1, 1 # of the last heading in prose; of the last that a method can stand under
    for cell, name in in_order(nb.cells, page):
        if cell.cell_type == "raw" or "AUTOGENERATED" in cell.source: continue
        if name:
            node, source = page.nodes[name]
            method = method_name(name, node)
            if method and not ast.get_docstring(node): continue
            if not method: above = min(level + 1, 3)
            cell = nbformat.v4.new_markdown_cell(entry(method or name, node, source, above + bool(method), label(page.module, name, node), link))
        elif cell.cell_type == "markdown":
            cell.source = local_links(cell.source, labels)
            for hashes in re.findall(r"^(#+) ", re.sub(r"^```.*?^```", "", cell.source, flags=re.M | re.S), re.M): level = above = len(hashes)
        else:
            cell.source = directive.sub("", cell.source).strip("\n")
            for o in cell.outputs: o.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)
        cell.pop("attachments", None) if not cell.get("attachments") else None
        cells.append(nbformat.from_dict({k: v for k, v in cell.items() if k in ("cell_type", "source", "metadata", "id", "outputs", "execution_count", "attachments")}))
    if page.name == "index": cells.append(nbformat.v4.new_markdown_cell(contents(pages)))
    nb.cells = cells
    nb.metadata = dict(language_info=dict(name="python", pygments_lexer="ipython3"), kernelspec=dict(name="python3", display_name="Python 3", language="python"), tocdepth=3)
    to.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nb, to)


def contents(pages: list) -> str:
    "The sections of the sidebar."
    tree = lambda caption, names: "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", "", *names, "```"])
    place = {f"tutorials/{o}": i for i, o in enumerate(guides)}
    names = sorted((o.name for o in pages), key=lambda o: (place.get(o, len(place)), o))
    inside = {caption: [n for n in names if Path(n + ".ipynb").match(pattern) and n.count("/") == pattern.count("/")] for caption, pattern in sections.items()}
    return "\n\n".join([tree("Start", ["Overview <self>"]), *(tree(caption, found) for caption, found in inside.items() if found)])


def from_outside(folder: Path) -> list: # "page: address"
    "What the pages would load from elsewhere."
    loads = re.compile(r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\bsrc=["']?((?:https?:)?//[^"'\s>]+)|<link\b(?=[^>]*\brel=["']?(?:stylesheet|preload|icon|preconnect))[^>]*\bhref=["']?((?:https?:)?//[^"'\s>]+)|@import\s+(?:url\()?["']?((?:https?:)?//[^"')\s]+)|url\(["']?((?:https?:)?//[^"')\s]+)""")
    return [f"{path.relative_to(folder)}: {next(filter(None, found))}" for path in sorted(folder.rglob("*")) if path.suffix in (".html", ".css") for found in loads.findall(path.read_text(encoding="utf-8"))]


def setup(app):
    "An extension of Sphinx: formulas as MathML, which browsers draw without a script, and the style."
    from docutils import nodes
    def formula(block):
        def visit(translator, node):
            tex = re.sub(r"(\\frac)\s*([^\s{\\])", r"\1{\2}", node.astext()) # docutils takes \frac32 for one number
            translator.body.append(tex2mathml(re.sub(r"(\\frac\{[^{}]\})\s*([^\s{\\])", r"\1{\2}", tex), as_block=block))
            raise nodes.SkipNode
        return visit, None
    app.add_html_math_renderer("mathml", inline_renderers=formula(False), block_renderers=formula(True))
    app.add_css_file("site.css")
    return dict(parallel_read_safe=True, parallel_write_safe=True)


def build(source: Path, to: Path, static: Path) -> int: # 0 when all went well
    "Pages from prepared notebooks; a warning is an error."
    (static/"site.css").write_text(style)
    name, version = [next(l.split("=", 1)[1].strip() for l in (root/"settings.ini").read_text().splitlines() if l.startswith(f"{o} =")) for o in ("title", "version")]
    config = dict(project=name, version=version, release=version, html_title=f"{name} {version}", extensions=["myst_nb", Path(__file__).stem], html_theme="furo", html_static_path=[str(static)],
                  nb_execution_mode="off", nb_merge_streams=True, myst_enable_extensions=["dollarmath", "attrs_inline"], myst_dmath_double_inline=True, myst_heading_anchors=4, html_math_renderer="mathml",
                  html_copy_source=False, html_show_sourcelink=False, html_show_copyright=False, html_show_sphinx=False, exclude_patterns=["**.ipynb_checkpoints"])
    sys.path.insert(0, str(Path(__file__).parent))
    app = Sphinx(str(source), None, str(to), str(source.parent/"doctrees"), "html", config, status=None, warning=sys.stderr, warningiserror=True, parallel=os.cpu_count() or 1)
    app.build(force_all=True)
    return app.statuscode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--to", type=Path, default=root/"_docs")
    parser.add_argument("--keep", type=Path, help="a folder for the notebooks that Sphinx reads, to look into")
    a = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        work = Path(work).resolve()
        notebooks = [o for o in sorted((root/"nbs").rglob("*.ipynb")) if not any(p.startswith((".", "_")) for p in o.relative_to(root/"nbs").parts)]
        pages = [prepare(o, work/"nbs"/o.relative_to(root/"nbs")) for o in notebooks]
        os.chdir(root)
        processed = proc_nbs(path=work/"nbs", force=True, n_workers=2)
        labels = {(re.sub(r"^\d+[a-zA-Z0-9]*_", "", Path(o.name).name) + ".html", name): label(o.module, name, node) for o in pages for name, (node, _) in o.nodes.items()}
        for page in pages: finish(page, processed/f"{page.name}.ipynb", work/"source"/f"{page.name}.ipynb", pages, labels)
        shutil.rmtree(processed)
        if a.keep: shutil.copytree(work/"source", a.keep, dirs_exist_ok=True)
        (work/"static").mkdir()
        if status := build(work/"source", work/"site", work/"static"): return status
        if a.to.exists(): shutil.rmtree(a.to)
        shutil.copytree(work/"site", a.to, ignore=shutil.ignore_patterns(".buildinfo*", "_sources"))
    if outside := from_outside(a.to): print("loaded from outside:", *outside, sep="\n  "); return 1
    size = sum(o.stat().st_size for o in a.to.rglob("*") if o.is_file())
    print(f"{len(pages)} pages in {a.to}, {size/1e6:.1f} MB, {time.monotonic() - start:.0f} s; no warning, nothing loaded from outside")
    return 0


if __name__ == "__main__": sys.exit(main())
