"""Runs the Python code of the documents, each from top to bottom in the folder in which its readers are."""

import json
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCUMENTS = {
    "README.md": "examples/photos", "bindings/python/README.md": "examples/photos", "docs/guide/python.md": ".",
    "examples/python/first_steps.ipynb": "examples/python",
}
try:
    import numpy  # noqa: F401
    import PIL  # noqa: F401
    arrays = True
except ImportError:
    arrays = False


def blocks(text, suffix):
    """The pieces of code: cells of a notebook (without Jupyter), or what pages mark as Python."""
    if suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        assert not any(cell["outputs"] or cell["execution_count"] for cell in cells), "the notebook has outputs: clear them"
        return ["".join(cell["source"]) for cell in cells]
    return re.findall(r"```python\n(.*?)```", text, re.S)


for document, folder in DOCUMENTS.items():
    os.chdir(ROOT / folder)
    found = blocks((ROOT / document).read_text(), Path(document).suffix)
    assert found, f"{document} has no code"
    names = {"__name__": "__main__"}
    for number, code in enumerate(found):
        if not arrays and re.search("import numpy|from PIL", code):
            print(f"NOT TESTED: {document} from its example {number + 1} on, which needs NumPy and Pillow", file=sys.stderr)
            break
        exec(compile(code, f"{document}, example {number + 1}", "exec"), names)
