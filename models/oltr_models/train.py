"""`python -m oltr_models.train`: labelled photos become a trained network, in two stages.

Stage 1 tunes the late blocks, the fully connected layer and a cosine classifier on the direct
feature, from a discriminant initialisation. Stage 2 adds modulated attention and the memory
(centroids and hallucinator from stage 1's class means and classifier) and trains them, the top
convolution and the fully connected layer with cross-entropies of logits and distances and the
large-margin loss. The early blocks stay as pretrained and the late ones as stage 1 left them; what
is frozen is cached. The weights that are kept are a moving average over the steps.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from . import losses, metrics
from .backbone import pretrained_lite0
from .cache import activations, keep_freed_memory
from .checkpoint import Checkpoint
from .cli import run
from .data import Preprocess, class_ids, read_samples, select, train_counts
from .discriminant import class_means, whitening
from .evaluation import Answers, class_indices
from .network import Architecture, Oltr, on_sphere

BATCH = 64  # of a pass without gradients
STAGE2_OPTIONS = {"sampling", "memory_rate", "attention_rate", "stage2_factor", "distance_loss", "margin_loss"}


class Trainer:
    """The state of a run: network, moving average, cached activations."""

    def __init__(self, args: argparse.Namespace):
        self.args = args
        torch.manual_seed(args.seed)
        torch.set_num_threads(args.threads)
        keep_freed_memory()
        args.work.mkdir(parents=True, exist_ok=True)
        samples = read_samples(args.images, args.labels, args.seed)
        self.classes = class_ids(samples)
        self.counts = train_counts(samples, self.classes)
        self.preprocess = Preprocess(args.size, args.resize, args.resize_to, pad_color=(args.pad_color,) * 3)
        self.net = Oltr(Architecture(args.size, len(self.classes), args.dim))
        self.net.backbone = pretrained_lite0()
        self.net.to(memory_format=torch.channels_last)
        self.cut = args.frozen_blocks

        train, known, unknown = (select(samples, *which) for which in (("train", True), ("val", True), ("val", False)))
        self.labels = class_indices(train, self.classes)
        self.clean = self._cached(train, None, "train")
        self.views = [self._cached(train, view, f"train view {view}") for view in range(args.views)] or [self.clean]
        self.val_known = self._cached(known, None, "val")
        self.val_labels = class_indices(known, self.classes)
        self.val_unknown = self._cached(unknown, None, "val unknown") if unknown else None

    def _cached(self, samples, view: int | None, what: str) -> np.ndarray:
        path = self.args.work / (what.replace(" ", "-") + ".npy")
        return activations(path, self.net.backbone, self.cut, samples, self.preprocess, view, self.args.seed, what,
                           self.args.turn and view is not None)

    @torch.no_grad()
    def advance(self) -> None:
        """Replaces the cached activations by the last map: from here on all blocks are frozen."""
        def last_map(source: np.ndarray, what: str) -> np.ndarray:
            rows = np.array_split(np.arange(len(source)), math.ceil(len(source) / BATCH))
            maps = [self.net.backbone.late(self.batch(source, r), self.cut).half().numpy() for r in tqdm(rows, desc=what, unit="batch")]
            return np.concatenate(maps)

        single = self.views[0] is self.clean
        self.clean = last_map(self.clean, "map train")
        self.views = [self.clean] if single else [last_map(v, f"map view {i}") for i, v in enumerate(self.views)]
        self.val_known = last_map(self.val_known, "map val")
        if self.val_unknown is not None:
            self.val_unknown = last_map(self.val_unknown, "map val unknown")
        self.cut = len(self.net.backbone.blocks)

    def batch(self, source: np.ndarray, rows: np.ndarray) -> torch.Tensor:
        """Rows of cached activations as float32."""
        x = torch.from_numpy(np.asarray(source[rows], np.float32))
        return x.contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def pooled(self, net: Oltr, source: np.ndarray, attend: bool) -> torch.Tensor:
        """Pooled features `[n, 1280]` of cached activations."""
        rows = np.array_split(np.arange(len(source)), math.ceil(len(source) / BATCH))
        return torch.cat([net.pooled(net.backbone.late(self.batch(source, r), self.cut), attend) for r in rows])

    def initialise(self) -> None:
        """Stage 1's start: discriminant values of the fully connected layer, the classifier and the centroids."""
        pooled = self.pooled(self.net, self.clean, attend=False)
        weight, bias = whitening(pooled.numpy(), self.labels, self.args.dim, self.args.shrinkage)
        with torch.no_grad():
            self.net.fc.weight.copy_(torch.from_numpy(weight))
            self.net.fc.bias.copy_(torch.from_numpy(bias))
            self.net.head.weight.copy_(self.class_means(self.net, attend=False))
            self.net.head.centroids.copy_(self.net.head.weight)

    @torch.no_grad()
    def class_means(self, net: Oltr, attend: bool) -> torch.Tensor:
        """Class means of the direct features, scaled back to the sphere."""
        features = net.direct(self.pooled(net, self.clean, attend)).numpy()
        return on_sphere(torch.from_numpy(class_means(features, self.labels)))

    def start_memory(self) -> None:
        """Stage 2's start: centroids between stage 1's class means and its classifier, which tells
        known from unknown better than means alone; hallucinator from the classifier."""
        head = self.net.head
        with torch.no_grad():
            head.centroids.copy_(on_sphere(self.class_means(self.net, attend=False) + on_sphere(head.weight)))
            head.hallucinator.weight.copy_(on_sphere(head.weight) * losses.COSINE_SCALE / losses.RADIUS**2)
            head.hallucinator.bias.zero_()

    def draw(self, rng: np.random.Generator, class_aware: bool) -> np.ndarray:
        """The training rows of one epoch: each photo once, or each class equally often."""
        n = len(self.labels)
        if not class_aware:
            return rng.permutation(n)
        shares = 1 / np.asarray(self.counts, float)[self.labels]
        return rng.choice(n, n, p=shares / shares.sum())

    def loss(self, x: torch.Tensor, labels: torch.Tensor, partner: torch.Tensor, lam: float, stage: int) -> torch.Tensor:
        """The loss of one batch; with lam < 1 the batch was mixed with its `partner` rows."""
        args = self.args
        v = self.net.features(self.net.backbone.late(x, self.cut), attend=stage == 2)
        pairs = [(lam, labels), (1 - lam, labels[partner])] if lam < 1 else [(1.0, labels)]
        if stage == 1:
            logits, distances = self.net.head.plain_logits(v), None
        else:
            logits, distances = self.net.head(v)
        total = torch.zeros(())
        for share, target in pairs:
            total = total + share * losses.cross_entropy(logits, target, self.log_prior, args.smoothing)
            if distances is not None:
                near = losses.cross_entropy(losses.distance_logits(distances), target, self.log_prior, args.smoothing)
                total = total + share * (args.distance_loss * near + args.margin_loss * losses.large_margin(distances, target))
        return total

    def run_stage(self, stage: int, epochs: int) -> None:
        """Trains one stage with a cosine schedule; afterwards `net` holds the moving average."""
        args = self.args
        done = args.work / f"stage{stage}.pt"
        options = options_of(args, stage)
        if done.exists() and not args.restart:
            saved = torch.load(done, weights_only=True)
            if saved["options"] == options:
                self.net.load_state_dict(saved["state"])
                print(f"stage {stage}: taken from {done}")
                return
        if stage == 1:
            self.initialise()
        else:
            self.advance()
            self.start_memory()
        class_aware = stage == 2 and args.sampling == "class"
        counts = torch.tensor(self.counts, dtype=torch.float32)
        self.log_prior = torch.log(counts / counts.sum()) * (0.0 if class_aware else args.balance)
        average = copy.deepcopy(self.net)
        optimiser = torch.optim.AdamW(self._groups(stage), weight_decay=args.weight_decay)
        peak = [g["lr"] for g in optimiser.param_groups]
        steps_per_epoch = math.ceil(len(self.labels) / args.batch)
        steps, step = epochs * steps_per_epoch, 0
        start = 0
        part = args.work / f"stage{stage}.part.pt"
        if part.exists() and not args.restart:
            saved = torch.load(part, weights_only=True)
            if saved["options"] == options:
                self.net.load_state_dict(saved["net"])
                average.load_state_dict(saved["average"])
                optimiser.load_state_dict(saved["optimiser"])
                start, step = saved["epoch"], saved["epoch"] * steps_per_epoch
                print(f"stage {stage}: resumed after epoch {start}")
        for epoch in range(start, epochs):
            rng = np.random.default_rng((args.seed, stage, epoch))
            rows = self.draw(rng, class_aware)
            running = []
            for batch in tqdm(np.array_split(rows, steps_per_epoch), desc=f"stage {stage} epoch {epoch + 1}/{epochs}", unit="batch"):
                warm = min(1.0, (step + 1) / max(1, steps_per_epoch))
                scale = warm * (0.5 + 0.5 * math.cos(math.pi * step / steps))
                for group, rate in zip(optimiser.param_groups, peak):
                    group["lr"] = rate * scale
                x = self.mixed_views(rng, batch)
                labels = torch.from_numpy(self.labels[batch])
                partner = torch.from_numpy(rng.permutation(len(batch)))
                lam = float(rng.beta(args.mixup, args.mixup)) if args.mixup > 0 else 1.0
                if lam < 1:
                    x = lam * x + (1 - lam) * x[partner]
                loss = self.loss(x, labels, partner, lam, stage)
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
                optimiser.step()
                step += 1
                decay = min(args.average, step / (step + 10))
                with torch.no_grad():
                    for kept, now in zip(average.parameters(), self.net.parameters()):
                        kept.lerp_(now, 1 - decay)
                running.append(float(loss.detach()))
            report = {"stage": stage, "epoch": epoch + 1, "loss": round(float(np.mean(running)), 4)}
            if (epoch + 1) % args.evaluate_every == 0 or epoch + 1 == epochs:
                report |= self.evaluate(average, stage)
            with open(args.work / "history.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(report) + "\n")
            tqdm.write(json.dumps(report))
            _replace(part, {"options": options, "epoch": epoch + 1, "net": self.net.state_dict(),
                            "average": average.state_dict(), "optimiser": optimiser.state_dict()})
        self.net.load_state_dict(average.state_dict())
        _replace(done, {"options": options, "state": self.net.state_dict()})
        part.unlink(missing_ok=True)

    def mixed_views(self, rng: np.random.Generator, rows: np.ndarray) -> torch.Tensor:
        """Each row from a random one of its cached views."""
        chosen = rng.integers(len(self.views), size=len(rows))
        return self.batch_of([self.views[v][r] for v, r in zip(chosen, rows)])

    @staticmethod
    def batch_of(arrays: list[np.ndarray]) -> torch.Tensor:
        """Single activations as one float32 batch."""
        x = torch.from_numpy(np.stack(arrays).astype(np.float32))
        return x.contiguous(memory_format=torch.channels_last)

    def _groups(self, stage: int) -> list[dict]:
        args, net = self.args, self.net
        for parameter in net.parameters():
            parameter.requires_grad_(False)
        late = [*net.backbone.blocks[self.cut:].parameters(), *net.backbone.top.parameters()]
        factor = 1.0 if stage == 1 else args.stage2_factor
        groups = [{"params": late, "lr": args.backbone_rate * factor},
                  {"params": list(net.fc.parameters()), "lr": args.feature_rate * factor}]
        if stage == 1:
            groups.append({"params": [net.head.weight], "lr": args.head_rate})
        else:
            groups.append({"params": list(net.head.parameters()), "lr": args.memory_rate})
            groups.append({"params": list(net.attention.parameters()), "lr": args.attention_rate})
        for group in groups:
            for parameter in group["params"]:
                parameter.requires_grad_(True)
        return groups

    @torch.no_grad()
    def evaluate(self, net: Oltr, stage: int) -> dict:
        """Closed-set accuracy and AUROC of reachability on the val split."""
        def answers(source: np.ndarray) -> Answers:
            v = net.direct(self.pooled(net, source, attend=stage == 2))
            if stage == 2:
                logits, distances = net.head(v)
            else:
                logits, distances = net.head.plain_logits(v), torch.cdist(v, on_sphere(net.head.weight))
            return Answers(logits.numpy(), distances.numpy())

        known = answers(self.val_known)
        report = {"val_" + k: round(x, 4) for k, x in metrics.closed_set(known.label, self.val_labels, self.counts).items()}
        if self.val_unknown is not None:
            unknown = answers(self.val_unknown)
            report["val_auroc"] = round(metrics.auroc(known.reachability, unknown.reachability), 4)
            report["val_auroc_probability"] = round(metrics.auroc(known.probability, unknown.probability), 4)
        return report


def _replace(path: Path, content: dict) -> None:
    """Saves and only then replaces, so that an interrupted run leaves the last good file."""
    fresh = path.with_name(path.name + ".new")
    torch.save(content, fresh)
    fresh.replace(path)


def options_of(args: argparse.Namespace, stage: int = 2) -> dict:
    """The options that decide the result up to a stage, as plain values."""
    ignored = {"work", "threads", "restart", "evaluate_every"} | (STAGE2_OPTIONS if stage == 1 else set())
    values = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items() if k not in ignored}
    return values | {"epochs": args.epochs[:stage]}


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m oltr_models.train", description="Train an OLTR network on labelled photos.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog="example: python -m oltr_models.train --images photos --labels everyday.tsv --work work/everyday")
    add = parser.add_argument
    add("--images", type=Path, required=True, help="folder with the photos")
    add("--labels", type=Path, help=".tsv with path, class, role, split; else one subfolder a class")
    add("--work", type=Path, required=True, help="folder for caches, history and the checkpoint best.pt")
    add("--size", type=int, default=224, help="input pixels of a side")
    add("--resize", choices=("shorter-side", "pad", "stretch"), default="stretch", help="geometry of the preprocessing")
    add("--resize-to", type=int, default=0, help="shorter side before the centre crop; 0 is the size")
    add("--pad-color", type=int, default=127, help="grey of the border that `pad` adds, 0 to 255")
    add("--dim", type=int, default=512, help="numbers of the direct feature")
    add("--frozen-blocks", type=int, default=12, help="early blocks that stay as pretrained")
    add("--views", type=int, default=6, help="random views of each training photo")
    add("--turn", action="store_true", help="views turned by quarters too: for subjects without an upright side")
    add("--batch", type=int, default=32, help="photos of a training step")
    add("--shrinkage", type=float, default=0.8, help="of the covariance in the discriminant start")
    add("--epochs", type=int, nargs=2, default=(8, 4), metavar=("STAGE1", "STAGE2"), help="passes over the photos")
    add("--backbone-rate", type=float, default=2e-4, help="learning rate of the late blocks")
    add("--feature-rate", type=float, default=2e-4, help="learning rate of the fully connected layer")
    add("--head-rate", type=float, default=3e-3, help="learning rate of stage 1's classifier")
    add("--memory-rate", type=float, default=1e-4, help="learning rate of the open-world head in stage 2")
    add("--attention-rate", type=float, default=3e-4, help="learning rate of the modulated attention")
    add("--stage2-factor", type=float, default=0.25, help="of the backbone's and feature's learning rates in stage 2")
    add("--sampling", choices=("photo", "class"), default="photo", help="stage 2: each photo once with balanced softmax, or each class equally often")
    add("--weight-decay", type=float, default=1e-2, help="decoupled weight decay")
    add("--smoothing", type=float, default=0.1, help="label smoothing")
    add("--mixup", type=float, default=0.2, help="beta parameter of mixed activations; 0 is off")
    add("--balance", type=float, default=1.0, help="share of the log prior in stage 1's balanced softmax")
    add("--distance-loss", type=float, default=1.0, help="weight of the cross-entropy of distances in stage 2")
    add("--margin-loss", type=float, default=0.01, help="weight of L_LM in stage 2")
    add("--average", type=float, default=0.98, help="decay of the moving average of the weights")
    add("--seed", type=int, default=0, help="of splits, views, sampling and initial weights")
    add("--threads", type=int, default=2, help="CPU threads")
    add("--evaluate-every", type=int, default=1, help="epochs between evaluations on val")
    add("--restart", action="store_true", help="train anew instead of going on with what --work holds")
    return parser


def main() -> None:
    """Runs the command."""
    args = arguments().parse_args()
    args.epochs = list(args.epochs)
    trainer = Trainer(args)
    for stage, epochs in enumerate(args.epochs, start=1):
        trainer.run_stage(stage, epochs)
    target = args.work / "best.pt"
    Checkpoint(trainer.net.eval(), trainer.preprocess, trainer.classes, trainer.counts, options_of(args)).save(target)
    print(f"{target}: {json.dumps(trainer.evaluate(trainer.net, 2))}")


if __name__ == "__main__":
    run(main)
