#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""oneDNN's float32 matrix products against OpenBLAS's, at the shapes of nano and S: what decision 0001 rests on.

Each library is called by its own BLAS-like function, by turns, in this process; the figure is the median of GFLOP/s, and the
ratio is oneDNN / OpenBLAS. Forward y = x w, then the gradients of inputs (dy w^T) and of weights (x^T dy).

usage: products.py [--rows 8192] [--threads 1] [--seconds 0.25]     (needs numpy, libdnnl and libopenblas)
"""
import argparse
import ctypes
import ctypes.util
import os
import statistics
import time

SHAPES = {"nano qkv": (128, 384), "nano proj": (128, 128), "nano up": (128, 512), "nano down": (512, 128), "S qkv": (512, 1536),
          "S proj": (512, 512), "S up": (512, 2048), "S down": (2048, 512), "head": (512, 33)}


def library(*names):
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise SystemExit(f"{names[0]} is missing: apt-get install libopenblas0-pthread libdnnl-dev")


def pointer(matrix):
    return matrix.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


class OneDnn:
    def __init__(self):
        self.call = library("libdnnl.so", "libdnnl.so.2", "libdnnl.so.3").dnnl_sgemm

    def __call__(self, a, a_transposed, b, b_transposed, c, depth):
        letter = {False: b"N", True: b"T"}
        size = ctypes.c_int64
        self.call(ctypes.c_char(letter[a_transposed]), ctypes.c_char(letter[b_transposed]), size(c.shape[0]), size(c.shape[1]), size(depth),
                  ctypes.c_float(1), pointer(a), size(a.shape[1]), pointer(b), size(b.shape[1]), ctypes.c_float(0), pointer(c), size(c.shape[1]))


class OpenBlas:
    def __init__(self, threads):
        loaded = library("libopenblas.so.0", "libopenblas.so")
        loaded.openblas_set_num_threads(threads)
        self.call = loaded.cblas_sgemm

    def __call__(self, a, a_transposed, b, b_transposed, c, depth):
        row_major, kind = 101, {False: 111, True: 112}
        self.call(row_major, kind[a_transposed], kind[b_transposed], c.shape[0], c.shape[1], depth, ctypes.c_float(1), pointer(a), a.shape[1],
                  pointer(b), b.shape[1], ctypes.c_float(0), pointer(c), c.shape[1])


def rates(libraries, a, a_transposed, b, b_transposed, shape, depth, seconds):
    import numpy
    work = 2e-9 * shape[0] * shape[1] * depth
    results = [numpy.empty(shape, numpy.float32) for _ in libraries]
    for product, c in zip(libraries, results):
        product(a, a_transposed, b, b_transposed, c, depth)
    expected = (a.T if a_transposed else a)[:8].astype(float) @ (b.T if b_transposed else b).astype(float)
    for c in results:
        if not numpy.allclose(c[:8], expected, rtol=1e-3, atol=1e-3 * numpy.sqrt(depth)):
            raise SystemExit("a library computes another product")
    taken = [[] for _ in libraries]
    end = time.monotonic() + seconds * len(libraries)
    while time.monotonic() < end or len(taken[0]) < 5:
        for product, c, times in zip(libraries, results, taken):
            begin = time.monotonic()
            product(a, a_transposed, b, b_transposed, c, depth)
            times.append(time.monotonic() - begin)
    return [work / statistics.median(times) for times in taken]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.25)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)  # oneDNN reads it when it is loaded
    import numpy
    libraries = [OneDnn(), OpenBlas(options.threads)]
    draw = numpy.random.default_rng(1)
    print(f"{options.rows} rows, {options.threads} thread(s): oneDNN / OpenBLAS, GFLOP/s (ratio)")
    ratios = []
    for name, (k, n) in SHAPES.items():
        x, w, dy = (draw.standard_normal(shape, numpy.float32) for shape in ((options.rows, k), (k, n), (options.rows, n)))
        line = []
        for a, a_transposed, b, b_transposed, shape, depth in ((x, False, w, False, (options.rows, n), k), (dy, False, w, True, (options.rows, k), n),
                                                               (x, True, dy, False, (k, n), options.rows)):
            ours, theirs = rates(libraries, a, a_transposed, b, b_transposed, shape, depth, options.seconds)
            ratios.append(ours / theirs)
            line.append(f"{ours:5.0f} / {theirs:5.0f} ({ours / theirs:.2f})")
        print(f"{name:10} {k:4} x {n:4}   " + "   ".join(line), flush=True)
    print(f"median ratio {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
