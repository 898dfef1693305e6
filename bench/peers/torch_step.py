#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The PyTorch peer: one training step that does exactly our work, on the same sequence lengths and cores.

What a strong PyTorch user would write for packed, variable-length protein batches on a CPU, in two ways:
  bucketed      sequences sorted by length and cut into a few padded micro-batches (gradients accumulated), compiled;
                padding costs products, masks cost attention, but every call is large
  per_sequence  one packed batch for all products, attention called once per sequence; no padding, not compiled
                (the number of sequences changes from batch to batch)

usage:
  torch_step.py --work nm --model nano --lengths lengths.txt --threads 2 [--dtype float32,bfloat16]
  torch_step.py ... --ours build/bin/lsd_bench     runs our program on the same lengths in the same loop, and prints ratios

Tokens are counted without padding, <cls> and <eos> included. Medians over --steps steps after --warmup steps.
"""
import argparse
import json
import math
import multiprocessing
import os
import resource
import subprocess
import time

import torch
import torch.nn.functional as F
from torch import nn

VOCAB = 33
SIZES = {"nano": (128, 4, 2, 2, 2), "s": (512, 8, 6, 6, 12), "m": (768, 12, 12, 12, 24), "l": (1280, 20, 16, 16, 32)}


class Layout:
    """Where the sequences of one micro-batch stand, either padded [batch, length] or packed [rows]."""

    def __init__(self, lengths, padded):
        self.lengths, self.padded = lengths, padded
        positions = [torch.arange(n) for n in lengths]
        if padded:
            longest = (max(lengths) + 7) // 8 * 8
            self.real = torch.zeros(len(lengths), longest)
            for row, n in enumerate(lengths):
                self.real[row, :n] = 1.0
            self.mask = (self.real > 0)[:, None, None, :]
            self.position = torch.arange(longest)
            self.shape = (len(lengths), longest)
        else:
            self.real = torch.ones(sum(lengths))
            self.position = torch.cat(positions)
            self.shape = (sum(lengths),)
        self.residues = float(sum(n - 2 for n in lengths))

    def rotary(self, head_width):
        frequency = 10000.0 ** (-torch.arange(0, head_width, 2).float() / head_width)
        angle = torch.outer(self.position.float(), frequency)
        self.cos, self.sin = angle.cos(), angle.sin()


def rotate(u, cos, sin):
    first, second = u.chunk(2, -1)
    c, s = cos.unsqueeze(-2), sin.unsqueeze(-2)
    return torch.cat([first * c - second * s, second * c + first * s], -1).to(u.dtype)


def attend(qkv, heads, layout):
    q, k, v = qkv.view(*qkv.shape[:-1], 3, heads, -1).unbind(-3)
    q, k = rotate(q, layout.cos, layout.sin), rotate(k, layout.cos, layout.sin)
    if layout.padded:
        out = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attn_mask=layout.mask)
        return out.transpose(1, 2).reshape(*layout.shape, -1)
    parts = []
    for a, b, c in zip(q.split(layout.lengths), k.split(layout.lengths), v.split(layout.lengths)):
        one = F.scaled_dot_product_attention(a.transpose(0, 1)[None], b.transpose(0, 1)[None], c.transpose(0, 1)[None])
        parts.append(one[0].transpose(0, 1))
    return torch.cat(parts).reshape(*layout.shape, -1)


class Block(nn.Module):
    def __init__(self, width, heads, adaptive):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, elementwise_affine=not adaptive)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=not adaptive)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.modulation = nn.Linear(width, 6 * width) if adaptive else None

    def forward(self, x, layout, condition=None):
        if self.modulation is None:
            x = x + self.out(attend(self.qkv(self.norm1(x)), self.heads, layout))
            return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))
        m = layout.spread(self.modulation(F.silu(condition))).chunk(6, -1)
        x = x + m[2] * self.out(attend(self.qkv(self.norm1(x) * (1 + m[1]) + m[0]), self.heads, layout))
        return x + m[5] * self.down(F.gelu(self.up(self.norm2(x) * (1 + m[4]) + m[3]), approximate="tanh"))


class Stack(nn.Module):
    def __init__(self, width, heads, layers, adaptive=False):
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, adaptive) for _ in range(layers))
        self.norm = nn.LayerNorm(width, elementwise_affine=not adaptive)

    def forward(self, x, layout, condition=None):
        for block in self.blocks:
            x = block(x, layout, condition)
        return self.norm(x)


class NoiseMasking(nn.Module):
    """LSD-NM: encoder, latent, noise per token, decoder, weighted cross-entropy, univariate KL of the moments."""

    def __init__(self, size):
        super().__init__()
        width, heads, encoder, decoder, _ = SIZES[size]
        self.head_width = width // heads
        self.embedding = nn.Embedding(VOCAB, width)
        self.encoder, self.decoder = Stack(width, heads, encoder), Stack(width, heads, decoder)
        self.latent, self.head = nn.Linear(width, width), nn.Linear(width, VOCAB)

    def forward(self, tokens, layout, total):
        z = self.latent(self.encoder(self.embedding(tokens), layout))
        angle = torch.rand(tokens.shape) * (math.pi / 2)
        c, s = angle.cos()[..., None], angle.sin()[..., None]
        logits = self.head(self.decoder((c * z + s * torch.randn(z.shape)).to(z.dtype), layout)).float()
        ce = F.cross_entropy(logits.view(-1, VOCAB), tokens.reshape(-1), reduction="none").view(tokens.shape)
        weight = layout.inner * s[..., 0] ** 2
        rows, inner = z.float(), layout.inner[..., None]
        axes = tuple(range(rows.dim() - 1))
        mean = (rows * inner).sum(axes) / layout.residues
        var = (((rows - mean) ** 2) * inner).sum(axes) / layout.residues
        kl = 0.5 * (mean**2 + var - 1 - var.clamp_min(1e-6).log()).mean()
        return (weight * ce).sum() / total + kl * (layout.residues / total)


class Mlm(nn.Module):
    """The masked-language baseline with ESM-2's tied head."""

    def __init__(self, size):
        super().__init__()
        width, heads, encoder, _, _ = SIZES[size]
        self.head_width = width // heads
        self.embedding = nn.Embedding(VOCAB, width)
        self.encoder = Stack(width, heads, encoder)
        self.dense, self.norm, self.bias = nn.Linear(width, width), nn.LayerNorm(width), nn.Parameter(torch.zeros(VOCAB))

    def forward(self, tokens, layout, total):
        chosen = (torch.rand(tokens.shape) < 0.15) & (layout.inner > 0)
        z = self.encoder(self.embedding(torch.where(chosen, torch.full_like(tokens, 32), tokens)), layout)
        logits = F.linear(self.norm(F.gelu(self.dense(z))), self.embedding.weight, self.bias).float()
        ce = F.cross_entropy(logits.view(-1, VOCAB), tokens.reshape(-1), reduction="none").view(tokens.shape)
        return (ce * chosen).sum() / (0.15 * total)


class Denoiser(nn.Module):
    """v-target diffusion on stored latents, adaptive norms, one time per sequence."""

    def __init__(self, size):
        super().__init__()
        width, heads, _, _, layers = SIZES[size]
        self.width, self.head_width = width, width // heads
        self.inp, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.stack = Stack(width, heads, layers, adaptive=True)
        self.final = nn.Linear(width, 2 * width)

    def forward(self, tokens, layout, total):
        z = layout.latents
        t = torch.rand(len(layout.lengths))
        frequency = torch.exp(-math.log(1e4) * torch.arange(128) / 128)
        phase = 1000 * t[:, None] * frequency
        condition = self.time(torch.cat([phase.cos(), phase.sin()], -1).to(self.inp.weight.dtype))
        angle = layout.spread(t[:, None]) * (math.pi / 2)
        c, s = angle.cos(), angle.sin()
        eps = torch.randn(z.shape)
        x = self.stack(self.inp((c * z + s * eps).to(self.inp.weight.dtype)), layout, condition)
        shift, scale = layout.spread(self.final(F.silu(condition))).chunk(2, -1)
        v = self.out(x * (1 + scale) + shift).float()
        error = ((v - (c * eps - s * z)) ** 2).mean(-1)
        return (error * layout.inner).sum() / total


MODELS = {"nm": NoiseMasking, "mlm": Mlm, "diffusion": Denoiser}


def finish_layout(layout, head_width, width, diffusion):
    layout.rotary(head_width)
    layout.inner = layout.real.clone()
    if layout.padded:
        for row, n in enumerate(layout.lengths):
            layout.inner[row, 0] = layout.inner[row, n - 1] = 0
        layout.spread = lambda m: m[:, None, :]
    else:
        ends = torch.tensor(layout.lengths).cumsum(0) - 1
        layout.inner[ends] = 0
        layout.inner[torch.cat([torch.zeros(1, dtype=torch.long), ends[:-1] + 1])] = 0
        owner = torch.repeat_interleave(torch.arange(len(layout.lengths)), torch.tensor(layout.lengths))
        layout.spread = lambda m: m[owner]
    if diffusion:
        layout.latents = torch.randn(*layout.shape, width)
    return layout


def make_batches(lengths, mode, buckets):
    if mode == "per_sequence":
        return [Layout(lengths, padded=False)]
    ordered = sorted(lengths)
    target = sum(ordered) / buckets
    groups, current = [], []
    for n in ordered:
        current.append(n)
        if sum(current) >= target and len(groups) < buckets - 1:
            groups.append(current)
            current = []
    return [Layout(g, padded=True) for g in [*groups, current] if g]


class Step:
    """Forward, backward, clip, AdamW. bfloat16: weights in bfloat16 for the products, float32 masters in the optimizer."""

    def __init__(self, args, mode, dtype):
        torch.manual_seed(0)
        self.model = MODELS[args.work](args.model)
        self.dtype = dtype
        self.layouts = make_batches(args.lengths, mode, args.buckets)
        for layout in self.layouts:
            finish_layout(layout, self.model.head_width, SIZES[args.model][0], args.work == "diffusion")
        self.tokens = [torch.randint(4, 24, layout.shape) for layout in self.layouts]
        self.total = sum(layout.residues for layout in self.layouts)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=4e-4, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
        self.call = torch.compile(self.model, dynamic=False) if mode == "bucketed" else self.model

    def run(self):
        for tokens, layout in zip(self.tokens, self.layouts):
            with torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == "bfloat16"):
                loss = self.call(tokens, layout, self.total)
            loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def measure_peer(args, mode, dtype):
    """In a process of its own, so that the peak is this mode's. Median seconds of a step, peak of resident bytes."""
    torch.set_num_threads(args.threads)
    step = Step(args, mode, dtype)
    times = []
    for index in range(args.warmup + args.steps):
        begin = time.perf_counter()
        step.run()
        if index >= args.warmup:
            times.append(time.perf_counter() - begin)
    return sorted(times)[len(times) // 2], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure_ours(args, dtype):
    command = [args.ours, "--work", args.work, "--model", args.model, "--lengths", args.lengths_file, "--activation", dtype,
               "--threads", str(args.threads), "--steps", str(args.steps), "--warmup", str(args.warmup), "--json=true"]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads([line for line in output.splitlines() if line.startswith("{")][-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", choices=sorted(MODELS), default="nm")
    parser.add_argument("--model", choices=sorted(SIZES), default="nano")
    parser.add_argument("--lengths", dest="lengths_file", required=True, help="one sequence length a line, <cls> and <eos> included")
    parser.add_argument("--modes", default="bucketed,per_sequence")
    parser.add_argument("--dtype", default="float32", help="float32, bfloat16 or both, comma-separated")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--buckets", type=int, default=4)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--ours", help="path of lsd_bench")
    args = parser.parse_args()
    args.lengths = [int(line) for line in open(args.lengths_file) if line.strip()]
    tokens = sum(args.lengths)
    for dtype in args.dtype.split(","):
        best = 0.0
        for mode in args.modes.split(","):
            with multiprocessing.get_context("fork").Pool(1) as process:
                median, peak = process.apply(measure_peer, (args, mode, dtype))
            best = max(best, tokens / median)
            print(json.dumps({"peer": f"torch {torch.__version__} {mode}", "work": args.work, "model": args.model, "dtype": dtype,
                              "threads": args.threads, "tokens": tokens, "step_ms": round(median * 1e3, 2),
                              "tokens_per_s": round(tokens / median), "peak_resident_bytes": peak}), flush=True)
        if args.ours:
            ours = measure_ours(args, dtype)
            print(json.dumps({**ours, "dtype": dtype, "ratio_to_best_peer": round(ours["tokens_per_s"] / best, 3)}), flush=True)


if __name__ == "__main__":
    main()
