# SPDX-License-Identifier: Apache-2.0
"""Reads ours.safetensors with the safetensors package and writes theirs.safetensors for the test to read."""
import pathlib
import sys

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

folder = pathlib.Path(sys.argv[1])
with safe_open(str(folder / "ours.safetensors"), framework="numpy") as file:
    assert file.metadata() == {"step": "12"}, file.metadata()
ours = load_file(str(folder / "ours.safetensors"))
assert sorted(ours) == ["empty", "encoder.block.0.attention.qkv.weight", "flags", "half", "scalar", "visits"], sorted(ours)
np.testing.assert_array_equal(ours["encoder.block.0.attention.qkv.weight"], np.arange(-3.5, 8.5, dtype=np.float32).reshape(3, 4))
np.testing.assert_array_equal(ours["visits"], np.array([1, -2, 1 << 40]))
np.testing.assert_array_equal(ours["flags"], np.array([7, 255, 0], dtype=np.uint8))
np.testing.assert_array_equal(ours["half"], np.array([[1], [-2]], dtype=np.float16))
assert ours["empty"].shape == (0, 4) and ours["scalar"].shape == () and ours["scalar"] == np.float32(-3.5)

save_file({"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "steps": np.array([7, -8])},
          str(folder / "theirs.safetensors"), metadata={"made_by": "python"})
