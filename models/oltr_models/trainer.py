"""Both stages of training, on cached activations; `train.py` is the command around it.

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
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from . import balance, losses, metrics
from .backbone import pretrained
from .cache import activations, keep_freed_memory
from .checkpoint import save
from .data import Preprocess, Sample, class_ids, read_samples, remarks, select, train_counts, write_labels
from .discriminant import class_means, whitening
from .evaluation import Answers, class_indices, figures
from .grounds import Grounds
from .network import ABLATIONS, Architecture, Oltr, on_sphere

BATCH = 64  # of a pass without gradients
FALLEN = 0.02  # below the best epoch on val: more than two points are no noise
SAMPLING = {"photo": 0.0, "root": 0.5, "class": 1.0}  # a class of n photos is drawn n^(1 - power) often
STAGE2_OPTIONS = {"memory_rate", "attention_rate", "stage2_factor", "distance_loss", "margin_loss", "ablate", "stage2_views", "stage2_balance"}


class Trainer:
    """The state of a run: network, moving average, cached activations."""

    score = "reachability"  # what tells known from unknown

    def __init__(self, args: argparse.Namespace):
        self.args = args
        torch.manual_seed(args.seed)
        torch.set_num_threads(args.threads)
        self.device = usable_device(args.device)
        keep_freed_memory()
        args.work.mkdir(parents=True, exist_ok=True)
        samples = read_samples(args.images, args.labels, args.seed)
        if not args.labels or args.labels.is_dir():
            write_labels(samples, args.labels or args.images, args.work / "labels.tsv")
        for remark in remarks(samples):
            print(f"note: {remark}", file=sys.stderr)
        self.classes = class_ids(samples)
        self.counts = train_counts(samples, self.classes)  # as the photos are, also where --most thins them
        self.preprocess = Preprocess(args.size, args.resize, args.resize_to, pad_color=(args.pad_color,) * 3)
        parts = {part: part not in args.ablate for part in ABLATIONS}
        self.net = Oltr(Architecture(args.size, len(self.classes), args.dim, **parts, backbone=args.backbone))
        self.net.backbone = pretrained(args.backbone)
        self.net.to(self.device, memory_format=torch.channels_last)
        self.cut = args.frozen_blocks
        self.balance = 1.0 if args.balance is None else args.balance
        self.reached: dict[int, float] = {}  # the measure on val that each stage ended with

        self.samples = samples
        train, known, unknown = (select(samples, *which) for which in (("train", True), ("val", True), ("val", False)))
        train = thinned(train, args.most, args.seed)
        self.grounds = None
        if args.foreign_grounds:
            self.grounds = Grounds(args.cutouts, args.images, train, args.foreign_grounds)
            print(f"note: {len(self.grounds.paths)} of {len(train)} training photos have a cutout", file=sys.stderr)
        self.labels = class_indices(train, self.classes)
        self.clean = self._cached(train, None, "train")
        self.views = [self._cached(train, view, f"train view {view}") for view in range(args.views)]
        if args.plain_view or not self.views:
            self.views.insert(0, self.clean)
        self.val_known = self._cached(known, None, "val")
        self.val_labels = class_indices(known, self.classes)
        self.val_unknown = self._cached(unknown, None, "val unknown") if unknown else None

    def run_name(self, stage: int) -> str:
        """Names the files of a stage; ablations share stage 1."""
        return f"stage{stage}" + ("-without-" + "-".join(self.args.ablate) if stage == 2 and self.args.ablate else "")

    def _cached(self, samples, view: int | None, what: str) -> np.ndarray:
        path = self.args.work / (what.replace(" ", "-") + ".npy")
        return activations(path, self.net.backbone, self.cut, samples, self.preprocess, view, self.args.seed, what,
                           self.args.turn and view is not None, self.grounds)

    @torch.no_grad()
    def advance(self) -> None:
        """Replaces the cached activations by the last map: from here on all blocks are frozen."""
        plain = self._maps(self.clean, "train")
        kept = self.views[:self.args.stage2_views or None]
        self.views = [plain if view is self.clean else self._maps(view, f"train-view-{i}") for i, view in enumerate(kept)]
        self.clean = plain
        self.val_known = self._maps(self.val_known, "val")
        if self.val_unknown is not None:
            self.val_unknown = self._maps(self.val_unknown, "val-unknown")
        self.cut = len(self.net.backbone.blocks)

    def _maps(self, source: np.ndarray, what: str) -> np.ndarray:
        """The last map of cached activations, float16; kept on disk for the ablations, which share stage 1."""
        path, of = self.args.work / f"map-{what}.npy", self.args.work / f"{Trainer.run_name(self, 1)}.pt"
        if path.exists() and path.stat().st_mtime > of.stat().st_mtime:
            return np.load(path, mmap_mode="r")
        rows = np.array_split(np.arange(len(source)), math.ceil(len(source) / BATCH))
        maps = np.concatenate([self.net.backbone.late(self.batch(source, r), self.cut).half().cpu().numpy()
                               for r in tqdm(rows, desc="map " + what, unit="batch")])
        fresh = path.with_name("fresh-" + path.name)
        np.save(fresh, maps)
        fresh.replace(path)
        return maps

    def batch(self, source: np.ndarray, rows: np.ndarray) -> torch.Tensor:
        """Rows of cached activations as float32."""
        return self._input(np.asarray(source[rows], np.float32))

    def _input(self, x: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(x).to(self.device).contiguous(memory_format=torch.channels_last)

    @torch.no_grad()
    def pooled(self, net: Oltr, source: np.ndarray, attend: bool, cut: int | None = None) -> torch.Tensor:
        """Pooled features `[n, 1280]` of activations cached behind `cut` blocks, by default the present cut."""
        cut = self.cut if cut is None else cut
        rows = np.array_split(np.arange(len(source)), math.ceil(len(source) / BATCH))
        return torch.cat([net.pooled(net.backbone.late(self.batch(source, r), cut), attend) for r in rows])

    def initialise(self) -> None:
        """Stage 1's start: that of another run, or discriminant values of the fully connected layer, the
        classifier and the centroids."""
        if self.args.start:
            self.net.load_state_dict(torch.load(self.args.start, map_location=self.device, weights_only=True)["state"])
            return
        pooled = self.pooled(self.net, self.clean, attend=False)
        weight, bias = whitening(pooled.cpu().numpy(), self.labels, self.args.dim, self.args.shrinkage)
        with torch.no_grad():
            self.net.fc.weight.copy_(torch.from_numpy(weight))
            self.net.fc.bias.copy_(torch.from_numpy(bias))
            self.net.head.weight.copy_(self.class_means(self.net, attend=False))
            self.net.head.centroids.copy_(self.net.head.weight)

    @torch.no_grad()
    def class_means(self, net: Oltr, attend: bool) -> torch.Tensor:
        """Class means of the direct features, scaled back to the sphere."""
        features = net.direct(self.pooled(net, self.clean, attend)).cpu().numpy()
        return on_sphere(torch.from_numpy(class_means(features, self.labels)).to(self.device))

    def start_memory(self) -> None:
        """Stage 2's start: centroids between stage 1's class means and its classifier, which tells
        known from unknown better than means alone; hallucinator from the classifier."""
        head = self.net.head
        with torch.no_grad():
            head.centroids.copy_(on_sphere(self.class_means(self.net, attend=False) + on_sphere(head.weight)))
            head.hallucinator.weight.copy_(on_sphere(head.weight) * losses.COSINE_SCALE / losses.RADIUS**2)
            head.hallucinator.bias.zero_()

    def draw(self, rng: np.random.Generator, power: float) -> np.ndarray:
        """The training rows of one epoch: each photo once, or some drawn so that the tail comes more often."""
        n = len(self.labels)
        count = min(self.args.epoch_photos or n, n)
        if power == 0:
            return rng.permutation(n)[:count]
        shares = np.bincount(self.labels).astype(float)[self.labels] ** -power
        return rng.choice(n, count, p=shares / shares.sum())

    def loss(self, x: torch.Tensor, labels: torch.Tensor, partner: torch.Tensor, lam: float, stage: int) -> torch.Tensor:
        """The loss of one batch; with lam < 1 the batch was mixed with its `partner` rows."""
        args = self.args
        v = self.net.features(self.net.backbone.late(x, self.cut), attend=stage == 2)
        pairs = [(lam, labels), (1 - lam, labels[partner])] if lam < 1 else [(1.0, labels)]
        if stage == 1:
            logits, distances = self.net.head.plain_logits(v), None
        else:
            logits, distances = self.net.head(v)
        total = torch.zeros((), device=self.device)
        for share, target in pairs:
            total = total + share * losses.cross_entropy(logits, target, self.log_prior, args.smoothing)
            if distances is not None:
                near = losses.cross_entropy(losses.distance_logits(distances), target, self.log_prior, args.smoothing)
                total = total + share * (args.distance_loss * near + args.margin_loss * losses.large_margin(distances, target))
        return total

    def run_stage(self, stage: int, epochs: int) -> None:
        """Trains one stage with a cosine schedule; afterwards `net` holds the moving average."""
        args = self.args
        done = args.work / f"{self.run_name(stage)}.pt"
        options = json.dumps(options_of(args, stage), sort_keys=True)
        if done.exists() and not args.restart:
            saved = torch.load(done, map_location=self.device, weights_only=True)
            if saved["options"] == options:
                own = self.net.state_dict()  # an ablated network lacks parts that stage 1 was saved with
                self.net.load_state_dict({name: value for name, value in saved["state"].items() if name in own})
                about = json.loads(saved["about"])
                self.balance, self.reached[stage] = about["balance"], about["measure"]
                print(f"{self.run_name(stage)}: taken from {done}")
                return
        if stage == 1:
            self.initialise()
        else:
            self.advance()
            self.start_memory()
        power = SAMPLING[args.sampling[stage - 1]]
        drawn = torch.bincount(torch.from_numpy(self.labels), minlength=len(self.classes)).float() ** (1 - power)
        prior = torch.log(drawn / drawn.sum()).to(self.device)
        self.log_prior = prior * (self.balance if stage == 1 or args.stage2_balance is None else args.stage2_balance)
        average = copy.deepcopy(self.net)
        optimiser = torch.optim.AdamW(self._groups(stage), weight_decay=args.weight_decay)
        peak = [g["lr"] for g in optimiser.param_groups]
        steps_per_epoch = math.ceil(min(args.epoch_photos or math.inf, len(self.labels)) / args.batch)
        steps, step = epochs * steps_per_epoch, 0
        start = 0
        best: dict = {}  # state, epoch and measure of the best epoch so far
        measured: list[float] = []
        part = args.work / f"{self.run_name(stage)}.part.pt"
        if part.exists() and not args.restart:
            saved = torch.load(part, map_location=self.device, weights_only=True)
            if saved["options"] == options:
                self.net.load_state_dict(saved["net"])
                average.load_state_dict(saved["average"])
                optimiser.load_state_dict(optimiser.state_dict() | {"state": saved["optimiser"]})
                start, step = saved["epoch"], saved["epoch"] * steps_per_epoch
                best, measured = json.loads(saved["best_of"]), json.loads(saved["measured"])
                if best:
                    best["state"] = saved["best"]
                print(f"{self.run_name(stage)}: resumed after epoch {start}")
        for epoch in range(start, epochs):
            rng = np.random.default_rng((args.seed, stage, epoch))
            rows = self.draw(rng, power)
            running = []
            for batch in tqdm(np.array_split(rows, steps_per_epoch), desc=f"{self.run_name(stage)} epoch {epoch + 1}/{epochs}", unit="batch"):
                warm = min(1.0, (step + 1) / max(1, steps_per_epoch))
                scale = warm * (0.5 + 0.5 * math.cos(math.pi * step / steps))
                for group, rate in zip(optimiser.param_groups, peak):
                    group["lr"] = rate * scale
                x = self.mixed_views(rng, batch)
                labels = torch.from_numpy(self.labels[batch]).to(self.device)
                partner = torch.from_numpy(rng.permutation(len(batch))).to(self.device)
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
            report = {"run": self.run_name(stage), "epoch": epoch + 1, "loss": round(float(np.mean(running)), 4)}
            if (epoch + 1) % args.evaluate_every == 0 or epoch + 1 == epochs:
                report |= self.evaluate(average, stage)
                measured.append(self.measure(report))
                if args.keep == "last" or not best or measured[-1] >= best["measure"]:
                    best = {"state": copy.deepcopy(average.state_dict()), "epoch": epoch + 1, "measure": measured[-1]}
            with open(args.work / "history.jsonl", "a", encoding="utf-8") as file:
                file.write(json.dumps(report) + "\n")
            tqdm.write(json.dumps(report))
            save(part, {"options": options, "epoch": epoch + 1, "net": self.net.state_dict(),
                        "average": average.state_dict(), "optimiser": optimiser.state_dict()["state"],
                        "best": best.get("state", {}), "measured": json.dumps(measured),
                        "best_of": json.dumps({key: value for key, value in best.items() if key != "state"})})
        if best:
            self.net.load_state_dict(best["state"])
            self.reached[stage] = best["measure"]
            self.warn(stage, best, measured)
        else:  # no epoch at all
            self.reached[stage] = self.measure(self.evaluate(self.net, stage))
        if stage == 1 and args.balance is None:
            self.choose_balance(prior)
        save(done, {"options": options, "state": self.net.state_dict(),
                    "about": json.dumps({"balance": self.balance, "measure": self.reached[stage]})})
        part.unlink(missing_ok=True)

    def measure(self, report: dict) -> float:
        """By what epochs are compared: top-1 on val, or its mean with the AUROC where val has unknown photos."""
        auroc = report.get("val_auroc_probability" if self.score == "probability" else "val_auroc")
        return report["val_top1"] if auroc is None else (report["val_top1"] + auroc) / 2

    def warn(self, stage: int, best: dict, measured: list[float]) -> None:
        """Says where val fell: within the stage, or from stage 1 to stage 2."""
        run, what = self.run_name(stage), "top-1 on val" if self.val_unknown is None else "mean of top-1 and AUROC on val"
        if max(measured) - measured[-1] > FALLEN:
            kept = f"epoch {best['epoch']} is kept" if self.args.keep == "best" else "the last is kept all the same"
            print(f"warning: {run}: the {what} fell from {max(measured):.3f} to {measured[-1]:.3f}; {kept}. Fewer --epochs, lower "
                  "rates or more --frozen-blocks may serve better", file=sys.stderr)
        if stage == 2 and self.reached.get(1, 0.0) - best["measure"] > FALLEN:
            print(f"warning: {run} ends below stage 1: the {what} is {best['measure']:.3f}, was {self.reached[1]:.3f}. A smaller "
                  "--stage2-balance or fewer epochs of it may serve better", file=sys.stderr)

    def choose_balance(self, prior: torch.Tensor) -> None:
        """Chooses the balance on val, and fits stage 1's classifier to it."""
        if len(self.val_labels) == 0:
            print(f"note: no photos in val to choose the balance by; it stays {self.balance}", file=sys.stderr)
            return

        def direct(source: np.ndarray) -> torch.Tensor:
            with torch.no_grad():
                return self.net.direct(self.pooled(self.net, source, attend=False))

        # With one view of each photo: what the network was not shown as it is hangs less on what it has learnt by heart.
        sources = [self.clean, *(view for view in self.views[:1] if view is not self.clean)]
        features = torch.cat([direct(source) for source in sources])
        labels = torch.from_numpy(np.tile(self.labels, len(sources))).to(self.device)
        val, truth = direct(self.val_known), torch.from_numpy(self.val_labels).to(self.device)
        head = self.net.head
        weights = {share: balance.refitted(head.weight, features, labels, prior * share, self.args.smoothing, self.args.seed)
                   for share in balance.CHOICES}
        reached = {share: balance.top1(weight, val, truth) for share, weight in weights.items()}
        self.balance = balance.chosen(reached)
        with torch.no_grad():
            head.weight.copy_(weights[self.balance])
        self.reached[1] = self.measure(self.evaluate(self.net, 1))
        report = {"balance": self.balance, "val_top1": {str(share): round(value, 4) for share, value in reached.items()}}
        (self.args.work / "balance.json").write_text(json.dumps(report) + "\n", encoding="utf-8")
        print(f"balance {self.balance}, of top-1 on val " + ", ".join(f"{value:.3f} at {share}" for share, value in reached.items()))

    def mixed_views(self, rng: np.random.Generator, rows: np.ndarray) -> torch.Tensor:
        """Each row from a random one of its cached views."""
        chosen = rng.integers(len(self.views), size=len(rows))
        return self._input(np.stack([self.views[v][r] for v, r in zip(chosen, rows)]).astype(np.float32))

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
            if net.attention is not None:
                # Each logit of the spatial map sums over all positions: at the same rate its softmax would
                # saturate in the first steps, at one position for every photo.
                spatial = list(net.attention.spatial.parameters())
                others = [p for name, p in net.attention.named_parameters() if not name.startswith("spatial.")]
                groups.append({"params": others, "lr": args.attention_rate})
                groups.append({"params": spatial, "lr": args.attention_rate / (net.attention.height * net.attention.width)})
        for group in groups:
            for parameter in group["params"]:
                parameter.requires_grad_(True)
        return groups

    @torch.no_grad()
    def answers(self, net: Oltr, source: np.ndarray, stage: int, cut: int | None = None) -> Answers:
        """What a network answers after a stage, on activations cached behind `cut` blocks."""
        v = net.direct(self.pooled(net, source, stage == 2, cut))
        if stage == 2:
            logits, distances = net.head(v)
        else:
            logits, distances = net.head.plain_logits(v), torch.cdist(v, on_sphere(net.head.weight))
        return Answers(logits.cpu().numpy(), distances.cpu().numpy())

    def evaluate(self, net: Oltr, stage: int) -> dict:
        """Closed-set accuracy and AUROC on the val split."""
        known = self.answers(net, self.val_known, stage)
        report = {"val_" + k: round(x, 4) for k, x in metrics.closed_set(known.label, self.val_labels, self.counts).items()}
        if self.val_unknown is not None:
            unknown = self.answers(net, self.val_unknown, stage)
            report["val_auroc"] = round(metrics.auroc(known.reachability, unknown.reachability), 4)
            report["val_auroc_probability"] = round(metrics.auroc(known.probability, unknown.probability), 4)
        return report

    def test(self) -> dict:
        """The figures of stage 2's network on the test split, at a threshold that accepts 95 % of the known
        val photos. Only for reports: nothing here may lead to a choice."""
        self.cut = self.args.frozen_blocks

        def of(split: str, known: bool) -> tuple[list[Sample], Answers]:
            samples, what = select(self.samples, split, known), split if known else split + "-unknown"
            maps = self._maps(self._cached(samples, None, what.replace("-", " ")), what)
            return samples, self.answers(self.net, maps, 2, len(self.net.backbone.blocks))

        threshold = metrics.threshold_accepting(getattr(of("val", True)[1], self.score), 0.95)
        known, answers = of("test", True)
        unknown = of("test", False)[1] if select(self.samples, "test", False) else None
        return figures(answers, class_indices(known, self.classes), unknown, self.counts, threshold, self.score)


def usable_device(name: str) -> torch.device:
    """The device of that name, if something can be computed on it here."""
    try:
        return torch.zeros(1, device=name).device
    except (AssertionError, NotImplementedError, RuntimeError) as error:  # by version and build of PyTorch
        raise ValueError(f"--device {name}: PyTorch cannot use it here ({str(error).splitlines()[0]}); leave --device out "
                         "to train on the CPU") from error


def thinned(samples: list[Sample], most: int, seed: int) -> list[Sample]:
    """At most `most` photos of each class, drawn at random; 0 keeps all."""
    if most == 0:
        return samples
    order = np.random.default_rng(seed).permutation(len(samples))
    taken: Counter[str] = Counter()
    kept = []
    for index in order:
        taken[samples[index].cls] += 1
        if taken[samples[index].cls] <= most:
            kept.append(int(index))
    return [samples[index] for index in sorted(kept)]


def options_of(args: argparse.Namespace, stage: int = 2) -> dict:
    """The options that decide the result up to a stage, as plain values."""
    ignored = {"work", "threads", "device", "restart", "evaluate_every", "report_test"} | (STAGE2_OPTIONS if stage == 1 else set())
    values = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items() if k not in ignored}
    return values | {"epochs": args.epochs[:stage], "sampling": args.sampling[:stage]}
