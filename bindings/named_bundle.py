"""The built-in bundle with taxa and thresholds of names: `named_bundle.py OLTR OUTPUT`, for the tests of the bindings."""

import json
import subprocess
import sys
from pathlib import Path

BUNDLE = Path(__file__).parents[1] / "models" / "everyday.onnx"
TAXONOMY = {
    "classes": {"wild_cat": {"genus": "Felis", "family": "Felidae"}, "cougar_face": {"genus": "Puma", "family": "Felidae"},
                "cougar_body": {"genus": "Puma", "family": "Felidae"}, "Leopards": {"family": "Felidae"},
                "lotus": {"species": "Nelumbo nucifera", "genus": "Nelumbo"}},
    "ids": {"Felidae": {"gbif": 9703}, "Nelumbo nucifera": {"gbif": 2882443, "worms": 1}},
}
NAMES = {"share": 0.9, "known": {"label": 0.9, "family": 0.68}, "open": {}}


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out + bytearray([number]))


def field(number: int, data: bytes) -> bytes:
    """A field of a message, by its length."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def make(program: str, output: Path) -> None:
    shown = subprocess.run([program, "inspect", "--json", BUNDLE], capture_output=True, check=True, text=True).stdout
    rule = json.loads(shown.splitlines()[0])["metadata"]["oltr.open"]
    rule = (json.loads(rule) if isinstance(rule, str) else rule) | {"names": NAMES}
    # Messages one behind the other are one: of an entry that stands twice the last holds.
    entries = {"oltr.open": rule, "oltr.taxonomy": TAXONOMY}
    more = b"".join(field(14, field(1, key.encode()) + field(2, json.dumps(value).encode())) for key, value in entries.items())
    output.write_bytes(BUNDLE.read_bytes() + more)


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]))
