# SPDX-License-Identifier: Apache-2.0
"""Hidden states and logits of Hugging Face's EsmForMaskedLM with weights that C++ makes again by formula.

    python3 tests/golden/make_esm2_golden.py      (needs torch and transformers; writes esm2_<head width>.json)
"""

import json
import pathlib

import torch
from transformers import EsmConfig, EsmForMaskedLM

from coordinates import golden_parameter

FOLDER = pathlib.Path(__file__).parent
LAYERS, HEADS = 2, 2
# <cls> residues <eos>; the second holds <mask> (32), X (24) and rare letters.
SEQUENCES = [
    [0, 20, 4, 5, 6, 19, 7, 8, 9, 23, 10, 11, 12, 13, 14, 2],
    [0, 15, 32, 17, 24, 32, 18, 25, 29, 16, 2],
    [0, 22, 2],
]


def esm_names(width):
    """Our names and shapes beside the parts of EsmForMaskedLM they fill."""
    yield "encoder.embedding.weight", (33, width), ["esm.embeddings.word_embeddings.weight"]
    for i in range(LAYERS):
        ours, theirs = f"encoder.block.{i}", f"esm.encoder.layer.{i}"
        attention = [f"{theirs}.attention.self.{part}" for part in ("query", "key", "value")]
        yield f"{ours}.attention.qkv.weight", (3 * width, width), [f"{name}.weight" for name in attention]
        yield f"{ours}.attention.qkv.bias", (3 * width,), [f"{name}.bias" for name in attention]
        for our, their, out, into in [
            ("attention.out", "attention.output.dense", width, width),
            ("feed_forward.up", "intermediate.dense", 4 * width, width),
            ("feed_forward.down", "output.dense", width, 4 * width),
        ]:
            yield f"{ours}.{our}.weight", (out, into), [f"{theirs}.{their}.weight"]
            yield f"{ours}.{our}.bias", (out,), [f"{theirs}.{their}.bias"]
        for our, their in [("attention.norm", "attention.LayerNorm"), ("feed_forward.norm", "LayerNorm")]:
            yield f"{ours}.{our}.gain", (width,), [f"{theirs}.{their}.weight"]
            yield f"{ours}.{our}.bias", (width,), [f"{theirs}.{their}.bias"]
    for our, their, part in [
        ("encoder.norm", "esm.encoder.emb_layer_norm_after", "gain"),
        ("head.norm", "lm_head.layer_norm", "gain"),
    ]:
        yield f"{our}.gain", (width,), [f"{their}.weight"]
        yield f"{our}.bias", (width,), [f"{their}.bias"]
    yield "head.dense.weight", (width, width), ["lm_head.dense.weight"]
    yield "head.dense.bias", (width,), ["lm_head.dense.bias"]
    yield "head.decoder.bias", (33,), ["lm_head.bias"]


def make_model(width, token_dropout):
    config = EsmConfig(
        vocab_size=33,
        mask_token_id=32,
        pad_token_id=1,
        hidden_size=width,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=4 * width,
        position_embedding_type="rotary",
        emb_layer_norm_before=False,
        token_dropout=token_dropout,
        layer_norm_eps=1e-5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
    )
    model = EsmForMaskedLM(config).double().eval()
    parameters = dict(model.named_parameters())
    filled = set()
    with torch.no_grad():
        for name, shape, parts in esm_names(width):
            values = torch.from_numpy(golden_parameter(name, shape))
            for part, value in zip(parts, values.chunk(len(parts))):
                parameters[part].copy_(value)
                filled.add(part)
    unused = {name for name in parameters if name not in filled}
    assert all("position" in name or "contact" in name for name in unused), unused
    assert model.lm_head.decoder.weight is model.esm.embeddings.word_embeddings.weight
    return model


def digits(values):
    return [float(f"{value:.8g}") for value in values.reshape(-1).tolist()]


def case(head_width, token_dropout):
    width = HEADS * head_width
    model = make_model(width, token_dropout)
    hidden, logits, scale = [], [], []
    for sequence in SEQUENCES:
        with torch.no_grad():
            tokens = torch.tensor([sequence])
            out = model(input_ids=tokens, attention_mask=torch.ones_like(tokens), output_hidden_states=True)
        hidden += digits(out.hidden_states[-1])
        logits += digits(out.logits)
        # ESM-2's token dropout: masked embeddings are 0, the others as in training, where 0.15 * 0.8 were masked.
        masked = sum(token == 32 for token in sequence) / len(sequence)
        scale += [0.0 if token == 32 else (1 - 0.15 * 0.8) / (1 - masked) for token in sequence]
    data = {
        "width": width,
        "heads": HEADS,
        "layers": LAYERS,
        "sequences": SEQUENCES,
        "hidden": hidden,
        "logits": logits,
    }
    if token_dropout:
        data["row_scale"] = scale
    return data


def main():
    for head_width in (16, 24, 32, 64):
        # Token dropout in one of the files is enough: it acts before the first layer.
        data = case(head_width, token_dropout=head_width == 24)
        path = FOLDER / f"esm2_{head_width}.json"
        path.write_text(json.dumps(data, separators=(",", ":")) + "\n")
        print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
