# SPDX-License-Identifier: Apache-2.0
"""Random draws by coordinates, written from the definition in include/lsd/core/philox.h with numpy alone."""

import numpy as np

STREAMS = {"init": 1, "nm_time": 6, "nm_noise": 7, "diffusion_noise": 9, "sample": 12}
U32 = np.uint64(0xFFFFFFFF)


def philox4x32(counter, key0, key1):
    """Philox4x32-10 (Salmon et al., 2011). counter: four uint64 arrays holding 32-bit words."""
    c0, c1, c2, c3 = (np.asarray(word, np.uint64) for word in counter)
    key0, key1 = int(key0), int(key1)
    for _ in range(10):
        product0, product1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (
            (product1 >> np.uint64(32)) ^ c1 ^ np.uint64(key0),
            product1 & U32,
            (product0 >> np.uint64(32)) ^ c3 ^ np.uint64(key1),
            product0 & U32,
        )
        key0, key1 = (key0 + 0x9E3779B9) & 0xFFFFFFFF, (key1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def uniforms(seed, stream, visit, count, draw=0):
    """Elements 0 .. count - 1 of one visit, in (0, 1), exact in float32."""
    blocks = np.arange((count + 3) // 4, dtype=np.uint64)
    zeros = np.zeros_like(blocks)
    words = philox4x32(
        (blocks, zeros + np.uint64(visit & 0xFFFFFFFF), zeros + np.uint64(visit >> 32), zeros + np.uint64(draw)),
        seed,
        STREAMS[stream],
    )
    words = np.stack(words, axis=1).reshape(-1)[:count]
    return ((words >> np.uint64(9)).astype(np.float64) + 0.5) * 2.0**-23


def normals(seed, stream, visit, count, draw=0):
    """Box-Muller on neighbouring elements."""
    u = uniforms(seed, stream, visit, count + count % 2, draw)
    radius, angle = np.sqrt(-2.0 * np.log(u[0::2])), 2.0 * np.pi * u[1::2]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)[:count]


def name_hash(name):
    """FNV-1a, 64 bit."""
    value = 0xCBF29CE484222325
    for byte in name.encode():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def golden_values(name, count, centre, half_width, seed=2026):
    """Values of a parameter in golden tests: centre + half_width (2 u - 1), rounded to float32 as C++ does."""
    u = uniforms(seed, "sample", name_hash(name), count).astype(np.float32)
    return np.float32(centre) + np.float32(half_width) * (np.float32(2.0) * u - np.float32(1.0))


def golden_parameter(name, shape):
    """Weights of variance 1 / fan_in, gains near 1, small biases, embeddings of variance 1/3."""
    count = int(np.prod(shape))
    if name.endswith(".gain"):
        centre, half_width = 1.0, 0.2
    elif name.endswith(".bias"):
        centre, half_width = 0.0, 0.2
    elif name.endswith("embedding.weight"):
        centre, half_width = 0.0, 1.0
    else:
        centre, half_width = 0.0, float(np.sqrt(np.float32(3.0) / np.float32(shape[-1])))
    return golden_values(name, count, centre, half_width).reshape(shape).astype(np.float64)
