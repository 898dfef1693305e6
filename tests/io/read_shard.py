# SPDX-License-Identifier: Apache-2.0
"""Reads the shard that shard_file_test.cpp writes, with h5py alone, and checks every promise of the format."""
import pathlib
import sys

import h5py
import numpy as np
import xxhash

path = pathlib.Path(sys.argv[1])
BLOCK = 1 << 20


def text(value):
    return value.decode() if isinstance(value, bytes) else value


with h5py.File(path, "r") as file:
    attributes = {name: text(value) for name, value in file.attrs.items()}
    assert attributes["format"] == "lsd-shard" and attributes["version"] == 1, attributes
    assert (attributes["split"], attributes["shard_index"], attributes["shard_count"]) == ("train", 3, 12)
    assert attributes["fingerprint"] == "0123456789abcdef" and attributes["block_bytes"] == BLOCK
    alphabet = attributes["alphabet"].split(" ")
    assert (len(alphabet), alphabet[4], alphabet[24], alphabet[32]) == (33, "L", "X", "<mask>")
    tables = {name: file[name] for name in ("tokens", "offsets", "record_numbers", "id_bytes", "id_offsets")}
    for name, table in tables.items():
        assert table.chunks is None and table.compression is None and table.id.get_offset() % 64 == 0, name
        data = table[:].tobytes()
        blocks = [xxhash.xxh3_64_intdigest(data[start : start + BLOCK]) for start in range(0, len(data), BLOCK)]
        assert blocks == file["checksums"][name][:].tolist(), name
    assert tables["tokens"].dtype == np.uint8 and tables["offsets"].dtype == np.uint64
    tokens, offsets = tables["tokens"][:], tables["offsets"][:]
    assert (attributes["records"], attributes["residues"]) == (len(offsets) - 1, len(tokens)) == (3, 2_000_005)
    assert tokens[offsets[0] : offsets[1]].tolist() == [20, 15, 7]
    assert tokens[offsets[1] : offsets[2]].tolist() == [4, 28]
    assert (tokens[offsets[2] : offsets[3]] == np.arange(2_000_000) % 25 + 4).all()
    ids, id_offsets = tables["id_bytes"][:].tobytes(), tables["id_offsets"][:]
    assert [ids[id_offsets[i] : id_offsets[i + 1]].decode() for i in range(3)] == ["UniRef50_P1", "b", "caf\u00e9"]
    assert tables["record_numbers"][:].tolist() == [7, 1, 10**12]

with open(path, "rb") as file:
    assert f"{xxhash.xxh3_64_intdigest(file.read()):016x}" == sys.argv[2], "checksum of the whole file"
