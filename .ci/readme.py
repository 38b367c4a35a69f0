"Make README.md from nbs/index.ipynb: prose, shown code and stored outputs; pictures go to nbs/index_files/."
import re
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

root = Path(__file__).resolve().parent.parent
notebook = nbformat.read(root/"nbs"/"index.ipynb", as_version=4)
directive = re.compile(r"^#\|\s*(\w+).*\n?", re.M)
cells = []
for cell in notebook.cells:
    names = set(directive.findall(cell.source))
    if names & {"hide", "default_exp"}: continue
    cell.source = directive.sub("", cell.source) if cell.cell_type == "code" else cell.source
    # a table as text reads the same everywhere; pictures stay pictures
    cell.outputs = [o for o in cell.get("outputs", []) if o.get("name") != "stderr"] if cell.cell_type == "code" else []
    for output in cell.outputs:
        data = output.get("data", {})
        if "text/html" in data: del data["text/html"]
        if "image/png" in data: data.pop("text/plain", None)
    cells.append(cell)
    if cell.cell_type != "code": del cell["outputs"]
notebook.cells = cells
notebook.metadata["language_info"] = dict(name="python")
text, resources = MarkdownExporter().from_notebook_node(notebook, resources=dict(output_files_dir="nbs/index_files"))
folder = root/"nbs"/"index_files"
folder.mkdir(exist_ok=True)
for old in folder.glob("*.png"): old.unlink()
for name, data in resources["outputs"].items(): (root/name).write_bytes(data)
(root/"README.md").write_text(re.sub(r"\n{3,}", "\n\n", text.replace("![png](", "![plot](")).strip() + "\n", encoding="utf-8")
print(f"README.md from nbs/index.ipynb, {len(resources['outputs'])} pictures")
