// SPDX-License-Identifier: Apache-2.0
#include "hdf5_handle_internal.h"

#include <fmt/format.h>

#include <vector>

#include "lsd/core/error.h"

namespace lsd::io {
namespace {

herr_t collect_message(unsigned /*depth*/, const H5E_error2_t* error, void* text) {
  auto& out = *static_cast<std::string*>(text);
  if (error->desc != nullptr && out.size() < 400) out += (out.empty() ? "" : "; ") + std::string(error->desc);
  return 0;
}

std::string take_hdf5_messages() {
  std::string text;
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, collect_message, &text);
  H5Eclear2(H5E_DEFAULT);
  return text.empty() ? "no further message" : text;
}

// Shards are written under names of their own and never changed, and many parallel file systems have no file locks.
void switch_locking_off(const Hdf5Handle& access) {
#if H5_VERSION_GE(1, 10, 7)
  check_hdf5(H5Pset_file_locking(access.get(), false, true), "switch file locking off");
#else
  (void)access;
#endif
}

bool is_type(hid_t object_type, hid_t wanted) {
  return H5Tequal(object_type, wanted) > 0;
}

}  // namespace

std::unique_lock<std::recursive_mutex> lock_hdf5() {
  static std::recursive_mutex mutex;
  std::unique_lock lock(mutex);
  // The library's own clean-up at exit touches files that it could not close (a full disk) and crashes on them. Every
  // handle of ours closes itself, so nothing is left for it to do.
  [[maybe_unused]] static const herr_t no_clean_up = H5dont_atexit();
  // Per thread in thread-safe builds, hence at every lock and not once.
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  return lock;
}

hid_t check_hdf5(hid_t result, std::string_view action, std::source_location where) {
  if (result < 0) throw SystemError(fmt::format("HDF5 could not {}: {}", action, take_hdf5_messages()), where);
  return result;
}

Hdf5Handle::~Hdf5Handle() {
  if (id_ < 0) return;
  const auto lock = lock_hdf5();
  close_(id_);
}

void Hdf5Handle::close(std::string_view action) {
  if (id_ < 0) return;
  const auto lock = lock_hdf5();
  check_hdf5(close_(std::exchange(id_, -1)), action);
}

Hdf5Handle create_hdf5_file(const std::filesystem::path& path) {
  const auto lock = lock_hdf5();
  const Hdf5Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose, "make a property list");
  check_hdf5(H5Pset_obj_track_times(creation.get(), false), "switch time stamps off");
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "make a property list");
  check_hdf5(H5Pset_libver_bounds(access.get(), H5F_LIBVER_V110, H5F_LIBVER_V110), "choose the file version");
  check_hdf5(H5Pset_alignment(access.get(), 1, 64), "set the alignment");
  switch_locking_off(access);
  return {H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.get(), access.get()), H5Fclose, "create " + path.string()};
}

Hdf5Handle open_hdf5_file(const std::filesystem::path& path) {
  const auto lock = lock_hdf5();
  if (!std::filesystem::exists(path))
    throw DataError(fmt::format("{} is missing: restore it or make the set again", path.string()));
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "make a property list");
  switch_locking_off(access);
  const hid_t id = H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get());
  if (id < 0) {
    throw DataError(
        fmt::format("{} cannot be read as HDF5 ({}): it is damaged, cut short or of another kind; restore it or "
                    "make it again",
                    path.string(), take_hdf5_messages()));
  }
  return {id, H5Fclose, "open " + path.string()};
}

Hdf5Handle create_group(const Hdf5Handle& parent, const std::string& name) {
  const auto lock = lock_hdf5();
  const Hdf5Handle creation(H5Pcreate(H5P_GROUP_CREATE), H5Pclose, "make a property list");
  check_hdf5(H5Pset_obj_track_times(creation.get(), false), "switch time stamps off");
  return {H5Gcreate2(parent.get(), name.c_str(), H5P_DEFAULT, creation.get(), H5P_DEFAULT), H5Gclose,
          "create the group " + name};
}

Hdf5Handle create_table(const Hdf5Handle& parent, const std::string& name, hid_t type, std::uint64_t size) {
  const auto lock = lock_hdf5();
  const hsize_t extent = size;
  const Hdf5Handle space(H5Screate_simple(1, &extent, nullptr), H5Sclose, "make a data space");
  const Hdf5Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "make a property list");
  check_hdf5(H5Pset_obj_track_times(creation.get(), false), "switch time stamps off");
  check_hdf5(H5Pset_layout(creation.get(), H5D_CONTIGUOUS), "choose the contiguous layout");
  check_hdf5(H5Pset_alloc_time(creation.get(), H5D_ALLOC_TIME_EARLY), "choose early allocation");
  check_hdf5(H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER), "switch fill values off");
  return {H5Dcreate2(parent.get(), name.c_str(), type, space.get(), H5P_DEFAULT, creation.get(), H5P_DEFAULT), H5Dclose,
          "create the table " + name};
}

void write_table(const Hdf5Handle& table, hid_t memory_type, const void* data) {
  const auto lock = lock_hdf5();
  if (data == nullptr) return;  // an empty table
  check_hdf5(H5Dwrite(table.get(), memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data), "write a table");
}

void write_slab(const Hdf5Handle& table, hid_t memory_type, std::uint64_t first, std::uint64_t count,
                const void* data) {
  const auto lock = lock_hdf5();
  const hsize_t start = first, extent = count;
  const Hdf5Handle memory(H5Screate_simple(1, &extent, nullptr), H5Sclose, "make a data space");
  const Hdf5Handle file(H5Dget_space(table.get()), H5Sclose, "read a table's space");
  check_hdf5(H5Sselect_hyperslab(file.get(), H5S_SELECT_SET, &start, nullptr, &extent, nullptr), "select a slab");
  check_hdf5(H5Dwrite(table.get(), memory_type, memory.get(), file.get(), H5P_DEFAULT, data),
             "write a block of a table");
}

void write_attribute(const Hdf5Handle& object, const std::string& name, std::string_view text) {
  const auto lock = lock_hdf5();
  const Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose, "copy a type");
  check_hdf5(H5Tset_size(type.get(), text.empty() ? 1 : text.size()), "set a text's size");
  check_hdf5(H5Tset_cset(type.get(), H5T_CSET_UTF8), "choose UTF-8");
  check_hdf5(H5Tset_strpad(type.get(), H5T_STR_NULLPAD), "choose the padding");
  const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose, "make a data space");
  const Hdf5Handle attribute(H5Acreate2(object.get(), name.c_str(), type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT),
                             H5Aclose, "create the attribute " + name);
  check_hdf5(H5Awrite(attribute.get(), type.get(), text.empty() ? "" : text.data()), "write the attribute " + name);
}

void write_attribute(const Hdf5Handle& object, const std::string& name, std::int64_t value) {
  const auto lock = lock_hdf5();
  const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose, "make a data space");
  const Hdf5Handle attribute(
      H5Acreate2(object.get(), name.c_str(), H5T_STD_I64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose,
      "create the attribute " + name);
  check_hdf5(H5Awrite(attribute.get(), H5T_NATIVE_INT64, &value), "write the attribute " + name);
}

std::string read_text_attribute(const Hdf5Handle& object, const std::string& name) {
  const auto lock = lock_hdf5();
  const hid_t id = H5Aopen(object.get(), name.c_str(), H5P_DEFAULT);
  if (id < 0) throw DataError(fmt::format("the attribute '{}' is missing; {}", name, kRestoreAdvice));
  const Hdf5Handle attribute(id, H5Aclose, "open an attribute");
  const Hdf5Handle type(H5Aget_type(id), H5Tclose, "read an attribute's type");
  const auto kind = H5Tget_class(type.get());
  const auto bytes = static_cast<std::size_t>(H5Aget_storage_size(id));
  if (kind != H5T_STRING || H5Tis_variable_str(type.get()) > 0 || bytes > (1U << 20U))
    throw DataError(fmt::format("the attribute '{}' is not a text of fixed size; {}", name, kRestoreAdvice));
  std::string text(bytes, '\0');
  check_hdf5(H5Aread(id, type.get(), text.data()), "read the attribute " + name);
  text.resize(text.find_last_not_of('\0') + 1);
  return text;
}

std::int64_t read_integer_attribute(const Hdf5Handle& object, const std::string& name) {
  const auto lock = lock_hdf5();
  const hid_t id = H5Aopen(object.get(), name.c_str(), H5P_DEFAULT);
  if (id < 0) throw DataError(fmt::format("the attribute '{}' is missing; {}", name, kRestoreAdvice));
  const Hdf5Handle attribute(id, H5Aclose, "open an attribute");
  const Hdf5Handle type(H5Aget_type(id), H5Tclose, "read an attribute's type");
  if (H5Tget_class(type.get()) != H5T_INTEGER || H5Aget_storage_size(id) > 8)
    throw DataError(fmt::format("the attribute '{}' is not one integer; {}", name, kRestoreAdvice));
  std::int64_t value = 0;
  check_hdf5(H5Aread(id, H5T_NATIVE_INT64, &value), "read the attribute " + name);
  return value;
}

TablePlace find_table(const Hdf5Handle& parent, const std::string& name, hid_t type) {
  const auto lock = lock_hdf5();
  const hid_t id = H5Dopen2(parent.get(), name.c_str(), H5P_DEFAULT);
  if (id < 0)
    throw DataError(
        fmt::format("the table '{}' is missing or damaged ({}); {}", name, take_hdf5_messages(), kRestoreAdvice));
  const Hdf5Handle table(id, H5Dclose, "open a table");
  const Hdf5Handle table_type(H5Dget_type(id), H5Tclose, "read a table's type");
  const Hdf5Handle space(H5Dget_space(id), H5Sclose, "read a table's space");
  const Hdf5Handle creation(H5Dget_create_plist(id), H5Pclose, "read a table's properties");
  if (!is_type(table_type.get(), type) || H5Sget_simple_extent_ndims(space.get()) != 1)
    throw DataError(
        fmt::format("the table '{}' has another type or shape than this version writes; {}", name, kRestoreAdvice));
  if (H5Pget_layout(creation.get()) != H5D_CONTIGUOUS)
    throw DataError(
        fmt::format("the table '{}' is not stored contiguously, so it cannot be mapped; {}", name, kRestoreAdvice));
  hsize_t extent = 0;
  H5Sget_simple_extent_dims(space.get(), &extent, nullptr);
  const haddr_t offset = H5Dget_offset(id);
  if (extent > 0 && offset == HADDR_UNDEF)
    throw DataError(fmt::format("the table '{}' has no data; {}", name, kRestoreAdvice));
  return {.offset_bytes = extent > 0 ? offset : 0, .size = extent, .element_bytes = H5Tget_size(table_type.get())};
}

}  // namespace lsd::io
