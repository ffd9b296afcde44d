"""`oltr-models COMMAND`: the commands of this package under one name, each as `python -m oltr_models.COMMAND` too."""

from __future__ import annotations

import importlib
import sys

from . import cli

# What each command does, with the module that holds it; in groups, in the order of a first bundle.
GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "from photos to a bundle": {
        "labels": ("labels", "write down which photo of a folder is in which split"),
        "train": ("train", "train a network on labelled photos"),
        "bundle": ("assemble", "export, quantise, check and calibrate in one go"),
    },
    "the steps of `bundle`": {
        "export": ("export", "write a checkpoint as a float ONNX bundle"),
        "quantise": ("quantise", "make a float bundle int8 and set its threshold"),
        "check": ("check", "compare an int8 bundle with its float original"),
    },
    "for a long tail": {
        "refit": ("refit", "fit the classifier of a bundle anew to all training photos"),
        "lift": ("lift", "raise the logits of rare classes"),
        "metric": ("metric", "give a bundle distances in the metric of its training photos"),
        "nothing": ("nothing", "teach a bundle what pictures of nothing look like"),
        "average": ("average", "average the weights of two trainings"),
    },
    "for cuts of a camera's pictures": {
        "cutouts": ("cutouts", "cut the subjects of training photos from their grounds"),
        "subject": ("subject", "say whether training photos show the whole frame or cuts"),
    },
    "others": {
        "import-checkpoint": ("import_checkpoint", "make a float bundle of a published checkpoint"),
        "card": ("card", "embed a model card"),
        "golden": ("golden", "write input and outputs of a bundle on a photo"),
        "summary": ("summary", "write one page on a training"),
        "softmax": ("softmax", "train the plain baseline in place of stage 2"),
        "methods": ("methods", "compare ways of quantising"),
        "make": ("make", "make one of the shipped bundles"),
    },
}
MODULES = {name: module for group in GROUPS.values() for name, (module, _) in group.items()}


def usage() -> str:
    """All commands, for people."""
    lines = ["usage: oltr-models COMMAND [OPTIONS]; oltr-models COMMAND --help has an example", ""]
    for title, group in GROUPS.items():
        lines.append(f"{title}:")
        lines.extend(f"  {name:<18} {text}" for name, (_, text) in group.items())
        lines.append("")
    return "\n".join(lines).rstrip()


def main() -> None:
    """Runs the command that the arguments name."""
    name, *rest = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help", "help"):
        print(usage())
        return
    if name in ("-V", "--version"):
        from importlib.metadata import version

        print(f"oltr-models {version('oltr-models')}")
        return
    module = MODULES.get(name.replace("_", "-"))
    if module is None:
        print(f"error: there is no command {name!r}\n\n{usage()}", file=sys.stderr)
        raise SystemExit(2)
    cli.PROGRAM = "oltr-models "
    sys.argv = [f"oltr-models {name}", *rest]
    try:
        command = importlib.import_module(f"oltr_models.{module}")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("oltr_models"):
            raise
        raise SystemExit(f"error: {error.name} is not installed; models/README.md says how") from error
    cli.run(command.main)


if __name__ == "__main__":
    main()
