"""`python -m oltr_models.softmax`: the plain baseline, to see what the open-world network brings.

It takes the place of stage 2: the backbone that stage 1 tuned, the same photos, views, rates and
epochs, but a linear classifier on the pooled features, cross-entropy without any regard to the tail,
and the largest probability to tell known from unknown.
"""

from __future__ import annotations

import json

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .backbone import TOP_CHANNELS
from .cli import prog, run
from .evaluation import Answers
from .network import Oltr
from .train import arguments
from .trainer import Trainer


class SoftmaxTrainer(Trainer):
    """Stage 2 with a linear classifier in place of attention, direct feature, memory and reachability."""

    score = "probability"

    def run_name(self, stage: int) -> str:
        """Stage 1 is that of the open-world network."""
        return "softmax" if stage == 2 else super().run_name(stage)

    def run_stage(self, stage: int, epochs: int) -> None:
        """Puts the linear classifier in place before stage 2."""
        if stage == 2:
            self.net.attention = None
            self.net.fc = nn.Linear(TOP_CHANNELS, len(self.classes)).to(self.device)
        super().run_stage(stage, epochs)

    def start_memory(self) -> None:
        """A classifier that knows nothing yet."""
        nn.init.zeros_(self.net.fc.weight)
        nn.init.zeros_(self.net.fc.bias)

    def loss(self, x: torch.Tensor, labels: torch.Tensor, partner: torch.Tensor, lam: float, stage: int) -> torch.Tensor:
        """Cross-entropy, for mixed activations the weighted one of both labels."""
        if stage == 1:
            return super().loss(x, labels, partner, lam, stage)
        logits = self.net.fc(self.net.pooled(self.net.backbone.late(x, self.cut), attend=False))
        pairs = [(lam, labels), (1 - lam, labels[partner])] if lam < 1 else [(1.0, labels)]
        return sum(share * F.cross_entropy(logits, target, label_smoothing=self.args.smoothing) for share, target in pairs)

    def _groups(self, stage: int) -> list[dict]:
        groups = super()._groups(stage)
        return groups if stage == 1 else [groups[0], groups[1] | {"lr": self.args.head_rate}]

    @torch.no_grad()
    def answers(self, net: Oltr, source: np.ndarray, stage: int, cut: int | None = None) -> Answers:
        """Logits; there are no distances, so reachability is the same for all."""
        if stage == 1:
            return super().answers(net, source, stage, cut)
        logits = net.fc(self.pooled(net, source, False, cut)).cpu().numpy()
        return Answers(logits, np.ones_like(logits))


def main() -> None:
    """Runs the command."""
    parser = arguments(prog("softmax"), "Train the softmax baseline and print its figures on test.")
    args = parser.parse_args()
    args.epochs, args.sampling, args.ablate = list(args.epochs), list(args.sampling), []
    trainer = SoftmaxTrainer(args)
    for stage, epochs in enumerate(args.epochs, start=1):
        trainer.run_stage(stage, epochs)
    report = trainer.test()
    (args.work / "softmax.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    run(main)
