// SPDX-License-Identifier: Apache-2.0
#pragma once
// What a dump of latents holds (docs/formats/embeddings.md): a folder of part files, each with a fixed range of the
// source's records, and manifest.json, written last. Equal content gives equal bytes, for any number of ranks.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lsd::io {

inline constexpr std::string_view kEmbeddingFormat = "lsd-embeddings";
inline constexpr std::int64_t kEmbeddingVersion = 1;
inline constexpr std::int64_t kEmbeddingBlockBytes = 1 << 20;  // one checksum per block of a table

enum class EmbeddingKind : std::uint8_t {
  residues,  // one row per token, specials included
  means,     // one row per protein: the mean over its residues
  moments,   // no rows, moments only
};
std::string_view name_of(EmbeddingKind kind);
EmbeddingKind embedding_kind_from_name(std::string_view name);  // throws DataError

// What was computed. Two dumps with the same fingerprint hold the same numbers.
struct EmbeddingIdentity {
  EmbeddingKind kind = EmbeddingKind::residues;
  std::string element = "float32";  // of the rows: float16 (residues only) or float32
  std::int64_t width = 0;
  bool specials = false;                   // <cls> and <eos> are counted in each protein's tokens; residues: have rows
  std::string representation = "encoder";  // encoder, diffusion, eps, score, denoised
  double time = 0.0;                       // the schedule's t; 0 for encoder
  std::string input = "clean";             // what the denoiser saw: clean, scaled, noised
  std::int64_t draws = 1;                  // noises averaged (noised)
  std::int64_t seed = 0;                   // of those noises
  std::string weights;                     // fingerprint of the model's weights (both models' for diffusion ones)
  std::string source;                      // fingerprint of the sequences
  std::string packing;                     // how the batches were cut and in which type was computed

  std::int64_t element_bytes() const { return element == "float16" ? 2 : 4; }
  std::string fingerprint() const;  // 16 hexadecimal digits over every field
};

// Over residues of the values before they are rounded to `element`; combined in record order, so equal for any rank
// count.
struct EmbeddingMoments {
  std::int64_t count = 0;
  std::vector<double> mean, squared_deviations;  // [width]; variance = squared_deviations / count

  std::vector<double> variance() const;
  void add(const EmbeddingMoments& other);  // Chan, Golub & LeVeque (1979)
};

// A finished part, as the manifest lists it.
struct EmbeddingPart {
  std::string name;  // "part-00000-of-00012.h5"
  std::int64_t first_record = 0, records = 0;
  std::int64_t tokens = 0, residues = 0;
  std::int64_t overflows = 0;  // values that became infinite in `element`
  std::int64_t bytes = 0;
  std::uint64_t checksum = 0;  // XXH3 over the block checksums of all tables, in the order of the format's list
  // XXH3 of the file less its trailer (file_trailer.h), which holds it; parts of older programs have none.
  std::optional<std::uint64_t> file_checksum = {};
};

struct EmbeddingManifest {
  EmbeddingIdentity identity;
  EmbeddingMoments moments;
  std::vector<EmbeddingPart> parts;
  // What the source held, counted there: the parts hold as much, so nothing is lost or doubled. Dumps of older programs
  // do not say.
  std::optional<std::int64_t> source_records = {}, source_residues = {};

  std::int64_t records() const;
  std::int64_t tokens() const;
  std::int64_t residues() const;
  std::int64_t overflows() const;
};

std::string embedding_part_name(std::int64_t index, std::int64_t count);

void write_embedding_manifest(const std::filesystem::path& folder, const EmbeddingManifest& manifest);
// Throws DataError when it is missing (the dump is unfinished), damaged or of another version.
EmbeddingManifest read_embedding_manifest(const std::filesystem::path& folder);
bool has_embedding_manifest(const std::filesystem::path& folder);

}  // namespace lsd::io
