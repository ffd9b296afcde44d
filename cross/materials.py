#!/usr/bin/env python3
"""Writes the bill of materials of the programs oltr and oltr-link as CycloneDX 1.5: each crate that is compiled in.

    cross/materials.py TARGET > oltr.cdx.json

It is made of what Cargo resolves for the target and of the checksums in Cargo.lock, without the network, and says the same for
the same commit.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ("oltr", "oltr-link")


def metadata(target):
    """What Cargo resolves for `target`."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", target]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)


def compiled(resolved):
    """The ids of the packages that the programs are made of, what runs only while building or testing left out."""
    nodes = {node["id"]: node for node in resolved["resolve"]["nodes"]}
    members = {package["id"] for package in resolved["packages"] if package["name"] in PROGRAMS and package["source"] is None}
    found, left = set(), sorted(members)
    while left:
        package = left.pop()
        if package not in found:
            found.add(package)
            left.extend(dep["pkg"] for dep in nodes[package]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"]))
    return found, members, nodes


def component(package, checksums, kind):
    """One crate, as CycloneDX has it."""
    name, version = package["name"], package["version"]
    entry = {"type": kind, "bom-ref": reference(package), "name": name, "version": version, "scope": "required",
             "purl": f"pkg:cargo/{name}@{version}"}
    if package["description"]:
        entry["description"] = " ".join(package["description"].split())
    if package["license"]:
        # An old way of writing it is not in the grammar of expressions.
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum := checksums.get((name, version)):
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    if package["repository"]:
        entry["externalReferences"] = [{"type": "vcs", "url": package["repository"]}]
    return entry


def reference(package):
    return f"{package['name']} {package['version']}"


def bill(target):
    """All of it."""
    resolved = metadata(target)
    packages = {package["id"]: package for package in resolved["packages"]}
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(p["name"], p["version"]): p["checksum"] for p in lock["package"] if "checksum" in p}
    found, members, nodes = compiled(resolved)
    ordered = sorted(found, key=lambda id: reference(packages[id]))
    oltr = next(packages[id] for id in members if packages[id]["name"] == "oltr")
    needs = {id: sorted({reference(packages[dep["pkg"]]) for dep in nodes[id]["deps"] if dep["pkg"] in found}) for id in ordered}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": component(oltr, checksums, "application"),
            "properties": [{"name": "oltr:target", "value": target}],
        },
        "components": [component(packages[id], checksums, "application" if id in members else "library")
                       for id in ordered if packages[id] is not oltr],
        "dependencies": [{"ref": reference(packages[id]), "dependsOn": needs[id]} for id in ordered],
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(json.dumps(bill(sys.argv[1]), indent=2, ensure_ascii=False))
