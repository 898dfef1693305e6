// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "frozen_latents_internal.h"
#include "lsd/core/error.h"

namespace lsd::tasks {

StoredLatents::StoredLatents(const std::filesystem::path& folder, const data::SequenceSource& source)
    : reader_(folder) {
  const auto& identity = reader_.manifest().identity;
  if (identity.kind != io::EmbeddingKind::residues || identity.representation != "encoder")
    throw UserError(folder.string() + " holds no latents per residue (kind " + std::string(io::name_of(identity.kind)) +
                    ", representation " + identity.representation + "); dump kind residues, representation encoder");
  if (!identity.specials)
    throw UserError(folder.string() +
                    " lacks the rows of <cls> and <eos>, which pass through the diffusion model too; "
                    "dump with specials");
  if (identity.source != source.fingerprint() || reader_.size() != source.size())
    throw UserError(folder.string() + " was dumped from other sequences than data.shards holds (" +
                    std::to_string(reader_.size()) + " records, " + std::to_string(source.size()) +
                    " expected); dump this shard set");
}

void StoredLatents::append(std::span<const std::byte> bytes, float*& to) const {
  const auto& identity = reader_.manifest().identity;
  if (identity.element == "float16") {
    for (std::size_t i = 0; i + 1 < bytes.size(); i += 2) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, bytes.data() + i, sizeof bits);
      *to++ = float_from_float16(bits);
    }
    return;
  }
  std::memcpy(to, bytes.data(), bytes.size());
  to += bytes.size() / sizeof(float);
}

void StoredLatents::read(const data::HostBatch& batch, std::vector<float>& values) const {
  values.resize(static_cast<std::size_t>(batch.layout().rows * width()));
  float* to = values.data();
  for (const auto& sequence : batch.sequences) {
    const auto tokens = reader_.tokens(sequence.record);
    check(sequence.rows == sequence.residues + 2, "training batches hold <cls> and <eos>");
    append(reader_.rows(sequence.record, 0, 1), to);
    append(reader_.rows(sequence.record, 1 + sequence.first_residue, sequence.residues), to);
    append(reader_.rows(sequence.record, tokens - 1, 1), to);
  }
  std::fill(to, values.data() + values.size(), 0.0F);
}

StoredBatch::StoredBatch(Backend& backend, std::int64_t rows, std::int64_t width, DType type)
    : backend_(backend),
      memory_(backend.allocate(static_cast<std::size_t>(rows * width * size_of(type)))),
      view_(memory_.data(), type, Shape{rows, width}, backend.device()) {}

void StoredBatch::upload(const StoredLatents& latents, const data::HostBatch& batch) {
  backend_.synchronize();  // the copy before may still read the host memory
  latents.read(batch, host_);
  if (view_.dtype() == DType::float32) {
    backend_.copy_to_device(view_, host_.data());
    return;
  }
  rounded_.clear();
  for (const float value : host_) rounded_.emplace_back(value);
  backend_.copy_to_device(view_, rounded_.data());
}

}  // namespace lsd::tasks
