# SPDX-License-Identifier: Apache-2.0
"""Reads the dump that embeddings_test.cpp writes, with h5py alone, and checks every promise of the format."""
import json
import pathlib
import sys

import h5py
import numpy as np
import xxhash

folder = pathlib.Path(sys.argv[1])
manifest_text = (folder / "manifest.json").read_text()
manifest = json.loads(manifest_text)
unsealed = manifest_text.replace(manifest["checksum"], "0" * 16, 1)
assert xxhash.xxh3_64_hexdigest(unsealed.encode()) == manifest["checksum"]
assert (manifest["format"], manifest["version"]) == ("lsd-embeddings", 1)
assert manifest["identity"]["kind"] == "residues" and manifest["identity"]["width"] == 3
assert (manifest["records"], manifest["tokens"], manifest["overflows"]) == (3, 12, 2)
np.testing.assert_allclose(manifest["moments"]["mean"], [2, 2, 2])
np.testing.assert_allclose(manifest["moments"]["variance"], [4, 4, 4])

BLOCK = 1 << 20
TABLES = ["offsets", "id_bytes", "id_offsets", "latents", "moment_count", "moment_mean", "moment_squared_deviations", "overflows"]
rows, ids = [], []
for part in manifest["parts"]:
    path = folder / part["name"]
    content = path.read_bytes()
    assert len(content) == part["bytes"]
    assert content[-32:] == b"\nlsd-part xxh3: " + part["file_checksum"].encode()
    assert xxhash.xxh3_64_hexdigest(content[:-32]) == part["file_checksum"]
    with h5py.File(path, "r") as file:
        text = file.attrs["format"]
        assert (text.decode() if isinstance(text, bytes) else text) == "lsd-embeddings"
        assert file.attrs["first_record"] == part["first_record"] and file.attrs["records"] == part["records"]
        latents, offsets = file["latents"], file["offsets"][:]
        assert latents.dtype == np.float32 and latents.shape == (part["tokens"], 3) and latents.chunks is None
        id_bytes, id_offsets = file["id_bytes"][:].tobytes(), file["id_offsets"][:]
        for record in range(part["records"]):
            rows.append(latents[offsets[record]:offsets[record + 1]])
            ids.append(id_bytes[id_offsets[record]:id_offsets[record + 1]].decode())
        all_sums = xxhash.xxh3_64()
        for table in TABLES:
            data = file[table][:].tobytes()
            sums = file["checksums"][table][:]
            assert [xxhash.xxh3_64_intdigest(data[i:i + BLOCK]) for i in range(0, len(data), BLOCK)] == sums.tolist(), table
            all_sums.update(sums.tobytes())
        assert f"{all_sums.intdigest():016x}" == part["checksum"]
assert ids == ["a", "bb", "c|x"]
np.testing.assert_array_equal(np.concatenate(rows[:2]), np.arange(21, dtype=np.float32).reshape(7, 3))
np.testing.assert_array_equal(rows[2], 100 + np.arange(15, dtype=np.float32).reshape(5, 3))
