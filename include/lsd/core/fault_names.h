// SPDX-License-Identifier: Apache-2.0
#pragma once
// Every place where a fault can be injected, as <artefact>.<phase>: the phase just completed, unless its name says
// otherwise. A name that is not here neither compiles (fault_point) nor is accepted from LSD_FAULT.

#include <algorithm>
#include <iterator>
#include <string_view>

namespace lsd {

inline constexpr std::string_view kFaultNames[] = {
    // Every file and folder that is put in place as a whole, and every table written to HDF5.
    "file.opened",
    "file.written",
    "file.synced",
    "file.renamed",
    "file.linked",
    "folder.synced",
    "folder.renamed",

    "run.folder_opened",
    "run.state_written",

    "shard.input_read",
    "shard.duplicates_dropped",
    "shard.begun",
    "shard.rows_written",
    "shard.tables_closed",
    "shard.committed",
    "shard.all_committed",
    "shard.manifest_written",

    "train.resumed",
    "train.gradients",
    "train.step_done",
    "train.validated",
    "train.metrics_written",

    "checkpoint.begun",
    "checkpoint.tensors_written",
    "checkpoint.state_written",
    "checkpoint.committed",
    "checkpoint.latest_written",
    "checkpoint.old_removed",

    "dump.begun",
    "dump.part_begun",
    "dump.part_rows_written",
    "dump.part_closed",
    "dump.damaged_part_removed",
    "dump.part_committed",
    "dump.all_committed",
    "dump.manifest_written",

    "probe.features_ready",
    "probe.head_trained",
    "probe.result_written",

    "verify.file_checked",
};

constexpr bool is_fault_name(std::string_view name) {
  return std::find(std::begin(kFaultNames), std::end(kFaultNames), name) != std::end(kFaultNames);
}

}  // namespace lsd
