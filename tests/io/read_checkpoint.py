# SPDX-License-Identifier: Apache-2.0
"""Reads a checkpoint that checkpoint_test.cpp wrote as docs/formats/checkpoints.md says, with json, xxhash and safetensors."""
import json
import pathlib
import sys

import numpy as np
import xxhash
from safetensors.numpy import load_file

folder = pathlib.Path(sys.argv[1])
checkpoint = folder / (folder / "latest").read_text().strip()
text = (checkpoint / "state.json").read_bytes()
state = json.loads(text)
assert (state["format"], state["version"]) == ("lsd-checkpoint", 1)
unsigned = text.replace(state["checksum"].encode(), b"0" * 16, 1)
assert xxhash.xxh3_64_hexdigest(unsigned) == state["checksum"]
assert (state["step"], state["next_visit"], state["skipped_visits"]) == (7, 700, [3, 9])
assert state["config"]["optimizer.learning_rate"] == "0.0004" and state["extra"] == {"losses": [0.1, 1e-30]}
assert [file["name"] for file in state["files"]] == ["model.safetensors", "optimizer.safetensors"]
for file in state["files"]:
    data = (checkpoint / file["name"]).read_bytes()
    assert len(data) == file["bytes"] and xxhash.xxh3_64_hexdigest(data) == file["checksum"], file
model = load_file(str(checkpoint / "model.safetensors"))
assert sorted(model) == ["encoder.norm.bias", "encoder.norm.gain"]
np.testing.assert_array_equal(model["encoder.norm.gain"], np.full((2, 3), 7, dtype=np.float32))
