#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How training should scale: expected efficiency at N nodes from step time, message sizes and link speeds.

The model of one optimizer step on nodes x gpus ranks (docs/scaling.md explains it):
  compute      micro-batches of `capacity` tokens at `rate` tokens/s; backward is two thirds of it
  gradients    4 bytes a parameter in buckets, each ready when backward has passed it, in the last micro-batch only
  a bucket     reduce-scatter and all-gather in the node, all-reduce of a GPU's share between nodes, one after the other
  optimizer    30 bytes a parameter through memory, after the last bucket

usage:
  scaling_model.py                                 the table of docs/scaling.md, in Markdown
  scaling_model.py --rate s=1.2e6,m=3.5e5          with rates of your own (lsd_bench prints them)
  scaling_model.py --gpus-per-node 4 --nic 25e9 --nvlink 200e9
  scaling_model.py --flat RANKS --parameters 8.2e5 --capacity 8192 --rate-one 28000 --link 1.0e9 --overlap 0
                                                   one flat group of ranks, to check the model against CPU ranks
"""
import argparse
import math

PARAMETERS = {"s": 38.1e6, "m": 170.8e6, "l": 631.4e6}  # autoencoders, as --run.memory_plan prints them
GLOBAL_BATCH = 1 << 20


def assumed_rates(peak, share):
    """Tokens/s of one GPU when `share` of its peak goes into 6 FLOP per parameter and token."""
    return {size: share * peak / (6 * count) for size, count in PARAMETERS.items()}


def bucket_seconds(size_bytes, nodes, gpus, link):
    inside = 2 * (gpus - 1) / gpus * size_bytes / link["nvlink"] + (link["latency_inside"] if gpus > 1 else 0)
    if nodes == 1:
        return inside
    between = 2 * (nodes - 1) / nodes * size_bytes / gpus / link["nic"]
    return inside + between + 2 * math.ceil(math.log2(nodes)) * link["latency_between"]


def step(parameters, rate, capacity, micro_batches, nodes, gpus, link, overlap=1.0):
    """Seconds of one step and its parts; micro_batches are those of one rank."""
    micro_batch = capacity / rate
    compute = micro_batches * micro_batch
    buckets = max(1, math.ceil(4 * parameters / link["bucket"]))
    size_bytes = 4 * parameters / buckets
    each = bucket_seconds(size_bytes, nodes, gpus, link) if nodes * gpus > 1 else 0.0
    backward = 2 / 3 * micro_batch
    end = 0.0
    for index in range(buckets):
        ready = compute - backward * overlap * (1 - (index + 1) / buckets)
        end = max(end, ready) + each
    optimizer = 30 * parameters / link["memory"]
    exposed = max(0.0, end - compute)
    return {"compute": compute, "exposed": exposed, "sums": buckets * each, "optimizer": optimizer, "step": compute + exposed + optimizer}


def batch_of(ranks, smallest):
    """Capacity and micro-batches of a rank: the global batch stays 1 M tokens until a rank's part is `smallest`."""
    part = max(GLOBAL_BATCH // ranks, smallest)
    capacity = min(65536, part)
    return capacity, part // capacity


def limit_of(parts):
    if parts["exposed"] > max(0.02 * parts["step"], parts["optimizer"]):
        return "gradient sums"
    return "optimizer" if parts["optimizer"] > 0.02 * parts["step"] else "compute"


def table(args, link, rates):
    print("| size | nodes | GPUs | capacity | global batch | compute ms | sums ms | not hidden ms | optimizer ms | efficiency | limit |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for size, parameters in PARAMETERS.items():
        capacity, count = batch_of(1, args.smallest)
        alone = step(parameters, rates[size], capacity, count, 1, 1, link)
        alone_rate = capacity * count / alone["step"]
        for nodes in (1, 2, 4, 8, 16, 32, 64):
            ranks = nodes * args.gpus_per_node
            capacity, count = batch_of(ranks, args.smallest)
            parts = step(parameters, rates[size], capacity, count, nodes, args.gpus_per_node, link)
            efficiency = capacity * count / parts["step"] / alone_rate
            print(f"| {size.upper()} | {nodes} | {ranks} | {capacity:,} | {capacity * count * ranks / 1e6:.2f} M | "
                  f"{parts['compute'] * 1e3:.1f} | {parts['sums'] * 1e3:.1f} | {parts['exposed'] * 1e3:.2f} | "
                  f"{parts['optimizer'] * 1e3:.2f} | {efficiency:.3f} | {limit_of(parts)} |")


def flat(args, link):
    link = {**link, "nvlink": args.link}
    alone = step(args.parameters, args.rate_one, args.capacity, 1, 1, 1, link, args.overlap)
    parts = step(args.parameters, args.rate_one, args.capacity, 1, 1, args.flat, link, args.overlap)
    print(f"1 rank {alone['step'] * 1e3:.1f} ms, {args.flat} ranks {parts['step'] * 1e3:.1f} ms a step of {args.capacity} tokens a rank "
          f"({parts['sums'] * 1e3:.1f} ms of sums, {parts['exposed'] * 1e3:.1f} not hidden): efficiency {alone['step'] / parts['step']:.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", default="", help="tokens/s of one GPU by size: s=...,m=...,l=...")
    parser.add_argument("--peak", type=float, default=989.4e12, help="dense bf16 FLOP/s of one GPU, for the assumed rates")
    parser.add_argument("--share", type=float, default=0.4, help="part of the peak that the assumed rates reach")
    parser.add_argument("--gpus-per-node", type=int, default=8)
    parser.add_argument("--smallest", type=int, default=16384, help="tokens of a rank and step below which the global batch grows instead")
    parser.add_argument("--nvlink", type=float, default=0.8 * 450e9, help="bytes/s of one GPU, one direction")
    parser.add_argument("--nic", type=float, default=0.8 * 50e9, help="bytes/s of one GPU's network port, one direction")
    parser.add_argument("--memory", type=float, default=0.8 * 3.35e12, help="bytes/s of a GPU's memory")
    parser.add_argument("--bucket", type=float, default=16 * 2**20, help="bytes of a gradient bucket")
    parser.add_argument("--flat", type=int, default=0, help="ranks of one flat group: prints its step beside one rank's")
    parser.add_argument("--parameters", type=float, default=38.1e6)
    parser.add_argument("--capacity", type=int, default=8192)
    parser.add_argument("--rate-one", type=float, default=1e4, help="tokens/s of one rank of the flat group")
    parser.add_argument("--link", type=float, default=1e9, help="bytes/s of the flat group's links")
    parser.add_argument("--overlap", type=float, default=1.0, help="part of backward that hides sums: 0 where sums take the same cores")
    args = parser.parse_args()
    link = {"nvlink": args.nvlink, "nic": args.nic, "memory": args.memory, "bucket": args.bucket,
            "latency_inside": 15e-6, "latency_between": 5e-6}
    rates = assumed_rates(args.peak, args.share)
    for entry in filter(None, args.rate.split(",")):
        size, value = entry.split("=")
        rates[size] = float(value)
    flat(args, link) if args.flat else table(args, link, rates)


if __name__ == "__main__":
    main()
