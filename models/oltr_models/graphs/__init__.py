"""Generators of test graphs: OLTR networks with random weights, in every quantised form, with golden outputs.

Nothing here is trained. The graphs have the operators, shapes and value ranges of the
real networks, so that a runtime can be checked and timed on them without any data set.

    python -m oltr_models.graphs --out DIR

Modules: `images` (inputs), `builder` (a graph that is evaluated while it grows),
`backbones`, `head` (attention and open-world head), `networks` (the list by name), `odd`
(unusual shapes and operators), `ops` and `edges` (one operator per graph), `quantise` (the
forms), `golden` (ONNX Runtime as the judge), `check` (are the graphs sane?).
"""
