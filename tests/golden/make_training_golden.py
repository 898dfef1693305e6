# SPDX-License-Identifier: Apache-2.0
"""Ten AdamW steps of NM, TN, MLM and the denoiser in plain PyTorch (float64, autograd), written from the equations in
docs/maths. Losses of every step and gradients of the first and last one are compared with by training_test.cpp.

    python3 tests/golden/make_training_golden.py      (needs torch; writes training_<case>.json)
"""

import json
import math
import pathlib
import random

import numpy as np
import torch
import torch.nn.functional as F

from coordinates import golden_parameter, golden_values, normals, uniforms

FOLDER = pathlib.Path(__file__).parent
SEED, STEPS, LAYERS, HEADS, WIDTH, VOCABULARY = 7, 10, 2, 2, 16, 33
LATENT, TIME_FEATURES = 8, 16
LEARNING_RATE, BETAS, EPSILON, DECAY, CLIP = 3e-3, (0.9, 0.98), 1e-8, 0.01, 1.0
LAMBDA, MIN_COUNT, SHRINKAGE, FLOOR = 0.7, 3, 0.1, 1e-6


class Parameters:
    """Named float64 leaves, filled by formula at first use."""

    def __init__(self):
        self.values, self.decay = {}, {}

    def get(self, name, *shape):
        if name not in self.values:
            value = torch.from_numpy(golden_parameter(name, shape))
            self.values[name] = value.requires_grad_()
            self.decay[name] = name.endswith(".weight") and not name.endswith("embedding.weight")
        return self.values[name]

    def linear(self, name, x, out):
        return F.linear(x, self.get(f"{name}.weight", out, x.shape[-1]), self.get(f"{name}.bias", out))

    def norm(self, name, x):
        width = x.shape[-1]
        return F.layer_norm(x, (width,), self.get(f"{name}.gain", width), self.get(f"{name}.bias", width), 1e-5)


def rotate(u):
    """Rotary positions, half-split layout. u: [heads, length, head width]."""
    length, half = u.shape[1], u.shape[2] // 2
    frequencies = 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = torch.arange(length, dtype=torch.float64)[:, None] * frequencies
    cos, sin = angles.cos(), angles.sin()
    first, second = u[..., :half], u[..., half:]
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def attention(p, name, x, lengths):
    width = x.shape[-1]
    qkv = p.linear(f"{name}.qkv", x, 3 * width)
    mixed = []
    for part in qkv.split(lengths):
        q, k, v = (u.reshape(-1, HEADS, width // HEADS).transpose(0, 1) for u in part.chunk(3, -1))
        scores = rotate(q) @ rotate(k).transpose(1, 2) / math.sqrt(width // HEADS)
        mixed.append((scores.softmax(-1) @ v).transpose(0, 1).reshape(-1, width))
    return p.linear(f"{name}.out", torch.cat(mixed), width)


def feed_forward(p, name, x, gelu):
    width = x.shape[-1]
    up = F.gelu(p.linear(f"{name}.up", x, 4 * width), approximate="tanh" if gelu == "tanh" else "none")
    return p.linear(f"{name}.down", up, width)


def transformer(p, name, x, lengths, gelu):
    for i in range(LAYERS):
        block = f"{name}.block.{i}"
        x = x + attention(p, f"{block}.attention", p.norm(f"{block}.attention.norm", x), lengths)
        x = x + feed_forward(p, f"{block}.feed_forward", p.norm(f"{block}.feed_forward.norm", x), gelu)
    return p.norm(f"{name}.norm", x)


def encoder(p, batch, gelu):
    table = p.get("encoder.embedding.weight", VOCABULARY, WIDTH)
    return transformer(p, "encoder", table[batch["tokens"]], batch["lengths"], gelu)


def univariate_kl(z):
    mean, variance = z.mean(0), z.var(0, correction=0).clamp(min=FLOOR)
    return 0.5 * (mean**2 + variance - 1 - variance.log()).mean()


def multivariate_kl(z):
    n, d = z.shape
    mean = z.mean(0)
    covariance = (z - mean).T @ (z - mean) / n
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * torch.eye(d, dtype=torch.float64)
    return (covariance.trace() + mean @ mean - d - torch.logdet(covariance)) / (2 * d)


def normalisation_loss(z, batch, variant, norm):
    kl = multivariate_kl if norm == "multivariate" else univariate_kl
    if variant == "nm":
        return kl(z[batch["residue"]])
    groups = [z[batch["tokens"] == amino_acid] for amino_acid in range(4, 24)]
    losses = [kl(group) for group in groups if len(group) >= MIN_COUNT]
    return torch.stack(losses).mean()


def per_row(draw, batch, stream, per_token):
    return np.concatenate(
        [draw(SEED, stream, visit, n * per_token) for visit, n in zip(batch["visits"], batch["lengths"])]
    )


def autoencoder_losses(p, batch, variant, gelu, norm):
    """Sum of weighted cross-entropies, and the normalisation loss of this micro-batch."""
    z = p.linear("latent", encoder(p, batch, gelu), WIDTH)
    z_in, weight = z, torch.ones(len(z), dtype=torch.float64)
    if variant == "nm":
        theta = 0.5 * math.pi * torch.from_numpy(per_row(uniforms, batch, "nm_time", 1))
        noise = torch.from_numpy(per_row(normals, batch, "nm_noise", WIDTH)).reshape(-1, WIDTH)
        z_in = theta.cos()[:, None] * z + theta.sin()[:, None] * noise
        weight = theta.sin() ** 2
    logits = p.linear("head", transformer(p, "decoder", z_in, batch["lengths"], gelu), VOCABULARY)
    counted = batch["targets"] >= 0
    entropy = F.cross_entropy(logits[counted], batch["targets"][counted], reduction="none")
    return (weight[counted] * entropy).sum(), normalisation_loss(z, batch, variant, norm)


def mlm_loss(p, batch, gelu):
    hidden = F.gelu(p.linear("head.dense", encoder(p, batch, gelu), WIDTH))
    table = p.get("encoder.embedding.weight", VOCABULARY, WIDTH)
    logits = F.linear(p.norm("head.norm", hidden), table, p.get("head.decoder.bias", VOCABULARY))
    counted = batch["targets"] >= 0
    return F.cross_entropy(logits[counted], batch["targets"][counted], reduction="sum")


def modulated_norm(x, shift, scale):
    return F.layer_norm(x, (x.shape[-1],), eps=1e-5) * (1 + scale) + shift


def denoiser(p, z_in, time, lengths, gelu):
    """time: one per sequence."""
    half = TIME_FEATURES // 2
    angles = 1000.0 * time[:, None] * 10000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    c = F.silu(p.linear("denoiser.time.first", torch.cat([angles.cos(), angles.sin()], -1), WIDTH))
    c = F.silu(p.linear("denoiser.time.second", c, WIDTH))
    rows = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    x = p.linear("denoiser.input", z_in, WIDTH)
    for i in range(LAYERS):
        block = f"denoiser.block.{i}"
        shift1, scale1, gate1, shift2, scale2, gate2 = p.linear(f"{block}.modulation", c, 6 * WIDTH)[rows].chunk(6, -1)
        x = x + gate1 * attention(p, f"{block}.attention", modulated_norm(x, shift1, scale1), lengths)
        x = x + gate2 * feed_forward(p, f"{block}.feed_forward", modulated_norm(x, shift2, scale2), gelu)
    shift, scale = p.linear("denoiser.modulation", c, 2 * WIDTH)[rows].chunk(2, -1)
    return p.linear("denoiser.output", modulated_norm(x, shift, scale), LATENT)


def denoiser_loss(p, batch, gelu):
    """Sum over residues of weight x mean squared error per dimension."""
    lengths = torch.tensor(batch["lengths"])
    rows = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    time, weight = (torch.tensor(batch[key], dtype=torch.float32).double() for key in ("times", "weights"))
    theta = (0.5 * math.pi * time)[rows][:, None]
    eps = torch.from_numpy(per_row(normals, batch, "diffusion_noise", LATENT)).reshape(-1, LATENT)
    z = batch["latents"]
    z_t, target = theta.cos() * z + theta.sin() * eps, theta.cos() * eps - theta.sin() * z
    error = ((denoiser(p, z_t, time, batch["lengths"], gelu) - target) ** 2).mean(-1)
    return (weight[rows] * error)[batch["residue"]].sum()


def adamw(p, state, step):
    """Decoupled weight decay and clipping by the global norm, as in include/lsd/tensor/optimizer_ops.h."""
    with torch.no_grad():
        norm = math.sqrt(sum(float((value.grad**2).sum()) for value in p.values.values()))
        for name, value in p.values.items():
            g = value.grad * min(1.0, CLIP / norm)
            m, v = state.setdefault(name, (torch.zeros_like(g), torch.zeros_like(g)))
            m.mul_(BETAS[0]).add_(g, alpha=1 - BETAS[0])
            v.mul_(BETAS[1]).add_(g * g, alpha=1 - BETAS[1])
            update = (m / (1 - BETAS[0] ** step)) / ((v / (1 - BETAS[1] ** step)).sqrt() + EPSILON)
            value -= LEARNING_RATE * (update + (DECAY * value if p.decay[name] else 0.0))


def draw_batches(case, rng):
    """Two micro-batches of a step; targets, masks and times are stored in the file, noise comes from coordinates."""
    batches = []
    for lengths in ((14, 9, 5), (11, 8)):
        sequences = [[rng.choice(range(4, 12)) for _ in range(n)] for n in lengths]
        batch = {"sequences": sequences, "visits": [rng.randrange(2**40) for _ in lengths]}
        if case["model"] == "mlm":
            # Positions in the packed rows (<cls> counted) that are predicted, and what stands there instead.
            rows = [r for r, residue in enumerate(token_rows(sequences)) if residue >= 4]
            batch["masked"] = sorted((r, rng.choice([32, 32, 32, 7])) for r in rng.sample(rows, len(rows) // 4))
        if case["model"] == "denoiser":
            batch["times"] = [round(rng.random(), 3) for _ in lengths]
            batch["weights"] = [round(0.5 + rng.random(), 3) for _ in lengths]
        batches.append(batch)
    return batches


def token_rows(sequences):
    return [token for sequence in sequences for token in [0, *sequence, 2]]


def prepare(batch, index):
    tokens = torch.tensor(token_rows(batch["sequences"]))
    ready = dict(batch, lengths=[len(s) + 2 for s in batch["sequences"]], residue=tokens >= 4)
    ready["targets"] = torch.where(ready["residue"], tokens, -1)
    if "masked" in batch:
        ready["targets"] = torch.full_like(tokens, -1)
        for row, replacement in batch["masked"]:
            ready["targets"][row] = tokens[row]
            tokens[row] = replacement
    if "times" in batch:
        z = golden_values(f"latents.{index}", len(tokens) * LATENT, 0.0, math.sqrt(3.0))
        ready["latents"] = torch.from_numpy(z.astype(np.float64)).reshape(-1, LATENT)
    ready["tokens"] = tokens
    return ready


def run_step(p, case, batches):
    """Accumulates gradients over the micro-batches as the trainer does; gives the losses that it reports, which are those optimised."""
    residues = sum(int(batch["residue"].sum()) for batch in batches)
    targets = sum(int((batch["targets"] >= 0).sum()) for batch in batches)
    totals = {"loss": 0.0}
    for batch in batches:
        if case["model"] == "mlm":
            loss = mlm_loss(p, batch, case["gelu"]) / targets
        elif case["model"] == "denoiser":
            loss = denoiser_loss(p, batch, case["gelu"]) / residues
        else:
            recon, norm = autoencoder_losses(p, batch, case["model"], case["gelu"], case["norm"])
            share = int(batch["residue"].sum()) / residues
            loss = recon / residues + LAMBDA * share * norm
            totals["loss_recon"] = totals.get("loss_recon", 0.0) + float(recon) / residues
            totals["loss_norm"] = totals.get("loss_norm", 0.0) + share * float(norm)
        loss.backward()
        totals["loss"] += float(loss)
    return totals


def gradients(p):
    """Norm and four values of every parameter's gradient."""
    result = {}
    for name in sorted(p.values):
        flat = p.values[name].grad.reshape(-1)
        picks = [int(i) for i in np.linspace(0, len(flat) - 1, 4)]
        result[name] = {
            "norm": float(f"{float(flat.norm()):.9g}"),
            "at": picks,
            "values": [float(f"{float(flat[i]):.9g}") for i in picks],
        }
    return result


def make(case):
    rng = random.Random(case["name"])
    p, state = Parameters(), {}
    out = dict(case, width=WIDTH, heads=HEADS, layers=LAYERS, latent=LATENT, time_features=TIME_FEATURES, seed=SEED)
    out.update(learning_rate=LEARNING_RATE, weight_decay=DECAY, clip=CLIP)
    out.update({"lambda": LAMBDA, "min_count": MIN_COUNT, "shrinkage": SHRINKAGE, "variance_floor": FLOOR, "steps": []})
    for step in range(1, STEPS + 1):
        batches = draw_batches(case, rng)
        for value in p.values.values():
            value.grad = None
        losses = run_step(p, case, [prepare(batch, index) for index, batch in enumerate(batches)])
        record = {"batches": batches, "losses": {name: float(f"{value:.9g}") for name, value in losses.items()}}
        if step in (1, STEPS):
            record["gradients"] = gradients(p)
        out["steps"].append(record)
        adamw(p, state, step)
    path = FOLDER / f"training_{case['name']}.json"
    path.write_text(json.dumps(out, separators=(",", ":")) + "\n")
    print(path, path.stat().st_size, "bytes", [round(s["losses"]["loss"], 4) for s in out["steps"]])


def main():
    for case in (
        {"name": "nm", "model": "nm", "gelu": "tanh", "norm": "univariate"},
        {"name": "tn", "model": "tn", "gelu": "erf", "norm": "univariate"},
        {"name": "nm_multivariate", "model": "nm", "gelu": "tanh", "norm": "multivariate"},
        {"name": "mlm", "model": "mlm", "gelu": "erf", "norm": "univariate"},
        {"name": "denoiser", "model": "denoiser", "gelu": "tanh", "norm": "univariate"},
    ):
        make(case)


if __name__ == "__main__":
    main()
