# SPDX-License-Identifier: Apache-2.0
"""Tiny ESM-2 checkpoints as they are found in the wild, with the embeddings that transformers computes from them.

    python3 tests/golden/make_esm2_checkpoints.py      (needs torch, transformers, safetensors; writes esm2_checkpoints/)

current/    what save_pretrained of transformers 5 writes: one float32 file, norms named gamma and beta, rotary
            frequencies under a name with a star
published/  the layout of the facebook/esm2_* repositories: norms named weight and bias, rotary frequencies per layer
            and rounded to float16, unused position embeddings, token dropout; here also sharded and in bfloat16
"""

import json
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import EsmConfig, EsmForMaskedLM

FOLDER = pathlib.Path(__file__).parent / "esm2_checkpoints"
RESIDUES = "LAGVSERTIDPKQNFYMHWCXBUZO"  # token ids from 4 on
VOCABULARY = ["<cls>", "<pad>", "<eos>", "<unk>", *RESIDUES, ".", "-", "<null_1>", "<mask>"]
# Long enough that a rounded frequency turns far positions visibly further.
SEQUENCES = ["MKTAYIAKQRQISFVKSHFSRQLEERLGLIEVQ", "W", "".join(RESIDUES[(i * i + 3 * i) % 24] for i in range(150))]
SHOWN_ROWS = [0, 1, 33, 34, 35, 36, 37, 38, 39, 100, 186, 187, 188, 189]  # of the three sequences one behind the other


def tokens_of(sequence):
    return [0] + [VOCABULARY.index(letter) for letter in sequence] + [2]


def make_model(layers, heads, token_dropout):
    config = EsmConfig(
        vocab_size=33,
        mask_token_id=32,
        pad_token_id=1,
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=128,
        position_embedding_type="rotary",
        emb_layer_norm_before=False,
        token_dropout=token_dropout,
        layer_norm_eps=1e-5,
        max_position_embeddings=64,
        attn_implementation="eager",
    )
    model = EsmForMaskedLM(config).eval()
    generator = torch.Generator().manual_seed(20260101 + heads)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            gain = "norm" in name.lower() and name.endswith("weight")
            scale = 0.2 if parameter.dim() == 1 else 1.0 if "embeddings" in name else parameter.shape[1] ** -0.5
            parameter.copy_((1.0 if gain else 0.0) + scale * noise)
    return model


def expected(folder):
    """Computed in double from what transformers itself reads back from the folder."""
    model = EsmForMaskedLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).double().eval()
    hidden, logits = [], []
    for sequence in SEQUENCES:
        tokens = torch.tensor([tokens_of(sequence)])
        with torch.no_grad():
            out = model(input_ids=tokens, attention_mask=torch.ones_like(tokens), output_hidden_states=True)
        hidden.append(out.hidden_states[-1][0])
        logits.append(out.logits[0])
    rows = {name: torch.cat(part)[SHOWN_ROWS] for name, part in (("hidden", hidden), ("logits", logits))}
    data = {"sequences": SEQUENCES, "rows": SHOWN_ROWS}
    data |= {name: [float(f"{value:.9g}") for value in part.reshape(-1).tolist()] for name, part in rows.items()}
    (folder / "expected.json").write_text(json.dumps(data, separators=(",", ":")) + "\n")


def write_current(folder):
    make_model(layers=2, heads=2, token_dropout=False).save_pretrained(folder)
    expected(folder)


def published_tensors(model):
    for name, value in model.state_dict().items():
        if name == "esm.rotary_embeddings.inv_freq":
            for layer in range(model.config.num_hidden_layers):
                yield f"esm.encoder.layer.{layer}.attention.self.rotary_embeddings.inv_freq", value.half().float()
        elif name != "esm.embeddings.position_ids":
            yield name, value.bfloat16()
    yield "esm.embeddings.position_ids", torch.arange(64).unsqueeze(0)
    yield "esm.embeddings.position_embeddings.weight", torch.zeros(64, 32, dtype=torch.bfloat16)


def write_published(folder):
    model = make_model(layers=1, heads=4, token_dropout=True)
    model.config.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    for key in ("rope_theta", "dtype", "tie_word_embeddings", "add_cross_attention", "is_decoder"):
        config.pop(key, None)  # transformers 4 writes none of these
    config["hidden_act"] = "gelu"
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    tensors = sorted(published_tensors(model))
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    weight_map = {}
    for file, part in zip(files, (tensors[: len(tensors) // 2], tensors[len(tensors) // 2 :])):
        save_file({name: value.clone().contiguous() for name, value in part}, folder / file, {"format": "pt"})
        weight_map |= {name: file for name, _ in part}
    size = sum(value.numel() * value.element_size() for _, value in tensors)
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")
    expected(folder)


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name, write in (("current", write_current), ("published", write_published)):
        (FOLDER / name).mkdir(parents=True)
        write(FOLDER / name)
    frequencies = EsmForMaskedLM.from_pretrained(FOLDER / "published").esm.rotary_embeddings.inv_freq
    exact = 10000.0 ** -(torch.arange(0, 8, 2) / 8)
    assert torch.equal(frequencies, exact.half().float()), "transformers computes with the frequencies of the file"
    print(sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()), "bytes")


if __name__ == "__main__":
    main()
