// SPDX-License-Identifier: Apache-2.0
#pragma once
// Which sequences stand in which packed micro-batch: next-fit in visit order, so a micro-batch is a range of visits, a
// pure function of (seed, cursor) and the same for any number of ranks. Every rank packs from lengths alone.
//
//   visit        epoch x records + position; grows for ever, so the last batch of an epoch runs on into the next one
//   micro-batch  `capacity` rows at most, `max_sequences` sequences at most
//   global batch `micro_batches` micro-batches: one optimizer step over all ranks

#include <cstdint>
#include <span>
#include <vector>

#include "lsd/data/sample_order.h"
#include "lsd/data/sequence_source.h"

namespace lsd::data {

struct PackingOptions {
  std::int64_t capacity = 65536;      // rows (tokens) of a micro-batch
  std::int64_t max_sequences = 1024;  // of a micro-batch
  std::int64_t max_length = 1024;     // tokens of a sequence with its specials; longer ones are cropped; 0: never crop
  bool specials = true;               // <cls> before and <eos> behind each sequence
  std::uint32_t seed = 0;             // of the crops
  std::int64_t end_visit = -1;        // no visit from here on; -1: no end
  std::vector<std::int64_t> skipped_visits = {};  // sorted; taken out as if they did not exist
};

// One sequence of a micro-batch.
struct PlacedSequence {
  std::int64_t visit = 0, record = 0;
  std::int32_t first_residue = 0, residues = 0;  // what the crop keeps of the record
  std::int32_t rows = 0;                         // residues plus specials
};

struct MicroBatchPlan {
  std::int64_t first_visit = 0, end_visit = 0;  // visits that it covers, skipped ones included
  std::int64_t rows = 0, residues = 0;
  std::vector<PlacedSequence> sequences;  // in row order; empty at the end of the data
};

// A step as every rank knows it.
struct GlobalBatchPlan {
  std::int64_t first_visit = 0, end_visit = 0;  // cursor before and after
  std::int64_t rows = 0, residues = 0, sequences = 0;
  std::vector<MicroBatchPlan> micro_batches;
};

class Packer {
 public:
  // Both must outlive the packer. Throws UserError when a sequence could not fit into a micro-batch.
  Packer(const SequenceSource& source, const SampleOrder& order, PackingOptions options, std::int64_t first_visit = 0);

  std::int64_t cursor() const { return cursor_; }
  bool at_end() const;
  MicroBatchPlan next();                                    // moves the cursor to end_visit
  GlobalBatchPlan next_global(std::int64_t micro_batches);  // behind the end: micro-batches without sequences

 private:
  bool skipped(std::int64_t visit);
  std::int64_t record_of(std::int64_t visit);

  const SequenceSource& source_;
  const SampleOrder& order_;
  PackingOptions options_;
  std::int64_t cursor_ = 0;
  std::size_t next_skipped_ = 0;       // first entry of skipped_visits not below the cursor
  std::vector<std::int64_t> records_;  // of visits [records_begin_, records_begin_ + records_.size())
  std::int64_t records_begin_ = 0;
};

// What `options` make of one visit of a record of `length` residues.
PlacedSequence place(const PackingOptions& options, std::int64_t visit, std::int64_t record, std::int32_t length);

// Which micro-batches of a global batch a rank runs, in its order; -1: an empty one, so that all ranks run equally many
// (ceil(micro_batches / ranks)). Round robin: k goes to rank k mod ranks.
std::vector<std::int64_t> micro_batches_of_rank(std::int64_t micro_batches, int rank, int ranks);

// For dumps and one-pass evaluation: records [begin, end) packed in record order without cropping. The plan is the same
// for any rank count; hand out whole micro-batches. A record longer than `capacity` stands alone in its micro-batch,
// whose rows then exceed the capacity: the caller gives those a block of their own size.
std::vector<MicroBatchPlan> plan_in_order(const SequenceSource& source, std::int64_t begin, std::int64_t end,
                                          const PackingOptions& options);

}  // namespace lsd::data
