// SPDX-License-Identifier: Apache-2.0
#pragma once
// One packed micro-batch as a model sees it: views of fixed capacity on the backend's device. `train` fills it from the
// host block that the loader packs. Which fields a model reads is said beside each.

#include <cstdint>

#include "lsd/tensor/packed_layout.h"

namespace lsd::models {

struct Batch {
  PackedLayout layout;
  ConstTensorView tokens;           // int32 [rows]: input ids (already masked for MLM); <pad> on dead rows
  ConstTensorView targets;          // int32 [rows]: id to reconstruct, -1 where the loss does not look
  ConstTensorView row_scale;        // float32 [rows]: ESM-2 token dropout; absent = 1
  ConstTensorView residue_mask;     // uint8 [rows]: 1 on residues (not <cls>, <eos>, dead rows)
  ConstTensorView residue_group;    // int32 [rows]: 0 on residues, -1 elsewhere (moments of all residues)
  ConstTensorView type_group;       // int32 [rows]: 0..19 for the 20 amino acids, -1 elsewhere (LSD-TN)
  ConstTensorView sequence_visit;   // int64 [max_sequences]: coordinates of random draws; 0 on unused slots
  ConstTensorView sequence_time;    // float32 [max_sequences]: t per sequence (diffusion)
  ConstTensorView sequence_weight;  // float32 [max_sequences]: importance weight 1 / (bins p_bin) (diffusion)
  ConstTensorView latents;          // [rows, latent] standardised clean latents (diffusion on stored latents) or absent

  // Host facts about this micro-batch, for logs and budgets only: no op's work may depend on them.
  std::int64_t num_sequences = 0, num_tokens = 0, num_residues = 0;
  std::int64_t num_targets = 0;  // rows with targets >= 0
};

}  // namespace lsd::models
