"""How the notebooks read, in figures: python .ci/house.py [NBS_FOLDER]

Counts what a reader meets: how long an exported cell is, how far one must read until something is shown or tested, how long lines,
functions and classes are. Of notebooks that export a module; guides and environments, which export by themselves, are counted too
where they hold exported cells.
"""
import ast
import json
import re
import sys
from pathlib import Path
from statistics import mean, quantiles

EXPORT = re.compile(r"^\s*#\s*\|\s*export[si]?\b", re.MULTILINE)
DIRECTIVE = re.compile(r"^\s*#\s*\|\s*(export[si]?|exporti|default_exp|hide|slow|gpu|notest|eval:).*$", re.MULTILINE)
DEFINES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def cells(notebook: Path) -> list:
    "(kind, source) of each cell: kind is `export`, `trial` or `markdown`."
    cells = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            cells.append(("markdown", source))
        elif cell["cell_type"] == "code":
            cells.append(("export" if EXPORT.search(source) else "trial", source))
    return cells


def code_lines(source: str) -> list:
    "Lines that are no directive and not empty."
    return [line for line in DIRECTIVE.sub("", source).splitlines() if line.strip()]


def parsed(source: str):
    "The syntax tree of a cell, or None where it holds a magic."
    try:
        return ast.parse(source)
    except SyntaxError:
        return None


def is_trial(source: str) -> bool:
    "Whether the cell shows or tests something: more than imports and directives."
    tree = parsed(source)
    if tree is None:
        return True
    return any(not isinstance(node, (ast.Import, ast.ImportFrom, *DEFINES)) for node in tree.body)


def length(node) -> int:
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    return node.end_lineno - first + 1


def measure(notebooks: list) -> dict:
    "The figures of a list of notebooks, by name of row."
    exported, defining, stretches, widths = [], [], [], []
    trial = 0
    functions, classes, public = [], [], set()
    for notebook in notebooks:
        stretch = 0
        for kind, source in cells(notebook):
            lines = code_lines(source)
            if kind == "markdown" or not lines:
                continue
            widths += map(len, lines)
            if kind == "trial":
                trial += len(lines)
                if is_trial(source):
                    stretches.append((stretch, notebook.name))
                    stretch = 0
                continue
            exported.append((len(lines), notebook.name))
            stretch += len(lines)
            tree = parsed(source)
            if tree is None:
                continue
            definitions = [node for node in tree.body if isinstance(node, DEFINES)]
            if definitions:
                defining.append(len(definitions))
            public |= {(notebook.name, node.name) for node in definitions if not node.name.startswith("_")}
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    classes.append((length(node), f"{notebook.name}: {node.name}"))
                elif isinstance(node, DEFINES):
                    functions.append((length(node), f"{notebook.name}: {node.name}"))
        stretches.append((stretch, notebook.name))
    sizes = [size for size, _ in exported]
    wide = [width for width in widths if width > 120]
    percent = lambda values, p: quantiles(values, n=100, method="inclusive")[p - 1] if len(values) > 1 else values[0]
    return {
        "notebooks": len(notebooks),
        "exported lines": sum(sizes),
        "lines of an exported cell, median / p90 / longest": f"{percent(sizes, 50):.0f} / {percent(sizes, 90):.0f} / {max(exported)[0]} ({max(exported)[1]})",
        "definitions in a cell that defines": f"{mean(defining):.2f}",
        "longest stretch of exported lines with nothing shown or tested": "{} ({})".format(*max(stretches)),
        "lines of trial (shown, tested) per exported line": f"{trial / sum(sizes):.2f}",
        "code lines over 120 characters": f"{100 * len(wide) / len(widths):.1f} %",
        "code line, p95 / longest": f"{percent(widths, 95):.0f} / {max(widths)}",
        "longest function": "{} ({})".format(*max(functions)),
        "longest class": "{} ({})".format(*max(classes)),
        "public names": len(public),
    }


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "nbs")
    notebooks = [path for path in sorted(folder.rglob("*.ipynb")) if ".ipynb_checkpoints" not in path.parts]
    notebooks = [path for path in notebooks if any(kind == "export" for kind, _ in cells(path))]
    if not notebooks:
        sys.exit(f"{folder}: no notebook with an exported cell.")
    for name, value in measure(notebooks).items():
        print(f"{name:64} {value}")


if __name__ == "__main__":
    main()
