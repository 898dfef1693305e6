// SPDX-License-Identifier: Apache-2.0
#pragma once
// The tables of an embedding part file, named once for writer and reader, and HDF5 matrices of floating-point rows.

#include <array>
#include <string>
#include <string_view>

#include "hdf5_handle_internal.h"
#include "lsd/io/embedding_format.h"

namespace lsd::io {

inline const std::string kLatentsTable = "latents";  // rows of a residues dump
inline const std::string kMeansTable = "means";      // rows of a means dump
inline const std::string kEmbeddingOffsetsTable = "offsets";
inline const std::string kEmbeddingIdBytesTable = "id_bytes";
inline const std::string kEmbeddingIdOffsetsTable = "id_offsets";
inline const std::string kSequenceHashesTable = "sequence_hashes";  // not in parts of older programs
inline const std::string kMomentCountTable = "moment_count";
inline const std::string kMomentMeanTable = "moment_mean";
inline const std::string kMomentSquaresTable = "moment_squared_deviations";
inline const std::string kOverflowsTable = "overflows";
inline const std::string kEmbeddingChecksumGroup = "checksums";

inline constexpr std::string_view kEmbeddingAdvice = "restore the file, or delete it and run lsd_dump_latents again";

// The rows' table of a kind; empty for moments.
std::string rows_table(EmbeddingKind kind);

// HDF5's IEEE half (which h5py reads as numpy.float16), float32 or float64, little endian.
Hdf5Handle float_type(const std::string& element);
// A contiguous [rows, columns] table without time stamps or fill values.
Hdf5Handle create_matrix(const Hdf5Handle& parent, const std::string& name, const Hdf5Handle& type, std::uint64_t rows,
                         std::uint64_t columns);
void write_matrix_rows(const Hdf5Handle& matrix, const Hdf5Handle& type, std::uint64_t first, std::uint64_t rows,
                       std::uint64_t columns, const void* data);
// Where a contiguous [rows, columns] table lies; size counts elements. Throws DataError when it has another shape or
// type.
TablePlace find_matrix(const Hdf5Handle& parent, const std::string& name, const std::string& element,
                       std::uint64_t rows, std::uint64_t columns);

}  // namespace lsd::io
