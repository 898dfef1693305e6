// SPDX-License-Identifier: Apache-2.0
#include "embedding_tables_internal.h"

#include <fmt/format.h>

#include "lsd/core/error.h"

namespace lsd::io {

std::string rows_table(EmbeddingKind kind) {
  switch (kind) {
    case EmbeddingKind::residues:
      return kLatentsTable;
    case EmbeddingKind::means:
      return kMeansTable;
    case EmbeddingKind::moments:
      return {};
  }
  return {};
}

Hdf5Handle float_type(const std::string& element) {
  const auto lock = lock_hdf5();
  const hid_t base = element == "float64" ? H5T_IEEE_F64LE : H5T_IEEE_F32LE;
  Hdf5Handle type(H5Tcopy(base), H5Tclose, "copy a type");
  if (element == "float16") {
    // IEEE 754 binary16: sign at bit 15, 5 exponent bits from 10 with bias 15, 10 mantissa bits from 0.
    check_hdf5(H5Tset_fields(type.get(), 15, 10, 5, 0, 10), "describe float16");
    check_hdf5(H5Tset_size(type.get(), 2), "describe float16");
    check_hdf5(H5Tset_ebias(type.get(), 15), "describe float16");
  }
  return type;
}

Hdf5Handle create_matrix(const Hdf5Handle& parent, const std::string& name, const Hdf5Handle& type, std::uint64_t rows,
                         std::uint64_t columns) {
  const auto lock = lock_hdf5();
  const std::array<hsize_t, 2> extent = {rows, columns};
  const Hdf5Handle space(H5Screate_simple(2, extent.data(), nullptr), H5Sclose, "make a data space");
  const Hdf5Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "make a property list");
  check_hdf5(H5Pset_obj_track_times(creation.get(), false), "switch time stamps off");
  check_hdf5(H5Pset_layout(creation.get(), H5D_CONTIGUOUS), "choose the contiguous layout");
  check_hdf5(H5Pset_alloc_time(creation.get(), H5D_ALLOC_TIME_EARLY), "choose early allocation");
  check_hdf5(H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER), "switch fill values off");
  return {H5Dcreate2(parent.get(), name.c_str(), type.get(), space.get(), H5P_DEFAULT, creation.get(), H5P_DEFAULT),
          H5Dclose, "create the table " + name};
}

void write_matrix_rows(const Hdf5Handle& matrix, const Hdf5Handle& type, std::uint64_t first, std::uint64_t rows,
                       std::uint64_t columns, const void* data) {
  if (rows == 0) return;
  const auto lock = lock_hdf5();
  const std::array<hsize_t, 2> start = {first, 0}, count = {rows, columns};
  const Hdf5Handle file_space(H5Dget_space(matrix.get()), H5Sclose, "read a table's space");
  check_hdf5(H5Sselect_hyperslab(file_space.get(), H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr),
             "select rows");
  const Hdf5Handle memory_space(H5Screate_simple(2, count.data(), nullptr), H5Sclose, "make a data space");
  check_hdf5(H5Dwrite(matrix.get(), type.get(), memory_space.get(), file_space.get(), H5P_DEFAULT, data), "write rows");
}

TablePlace find_matrix(const Hdf5Handle& parent, const std::string& name, const std::string& element,
                       std::uint64_t rows, std::uint64_t columns) {
  const auto lock = lock_hdf5();
  const hid_t id = H5Dopen2(parent.get(), name.c_str(), H5P_DEFAULT);
  if (id < 0) throw DataError(fmt::format("the table '{}' is missing or damaged; {}", name, kRestoreAdvice));
  const Hdf5Handle table(id, H5Dclose, "open a table");
  const Hdf5Handle type(H5Dget_type(id), H5Tclose, "read a table's type");
  const Hdf5Handle space(H5Dget_space(id), H5Sclose, "read a table's space");
  const Hdf5Handle creation(H5Dget_create_plist(id), H5Pclose, "read a table's properties");
  std::array<hsize_t, 2> extent{};
  const bool fits = H5Sget_simple_extent_ndims(space.get()) == 2 &&
                    H5Sget_simple_extent_dims(space.get(), extent.data(), nullptr) == 2 && extent[0] == rows &&
                    extent[1] == columns && H5Tequal(type.get(), float_type(element).get()) > 0;
  if (!fits) {
    throw DataError(fmt::format("the table '{}' is not {} [{}, {}], as its file's head promises; {}", name, element,
                                rows, columns, kRestoreAdvice));
  }
  if (H5Pget_layout(creation.get()) != H5D_CONTIGUOUS) {
    throw DataError(
        fmt::format("the table '{}' is not stored contiguously, so it cannot be mapped; {}", name, kRestoreAdvice));
  }
  const haddr_t offset = H5Dget_offset(id);
  const bool empty = rows == 0 || columns == 0;
  if (!empty && offset == HADDR_UNDEF)
    throw DataError(fmt::format("the table '{}' has no data; {}", name, kRestoreAdvice));
  return {.offset_bytes = empty ? 0 : offset, .size = rows * columns, .element_bytes = H5Tget_size(type.get())};
}

}  // namespace lsd::io
