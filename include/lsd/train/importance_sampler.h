// SPDX-License-Identifier: Apache-2.0
#pragma once
// Importance sampling of the diffusion time: times whose loss is large are drawn more often and weighted less, so the
// objective stays unbiased and keeps its scale. 100 bins over [0, 1], uniform within a bin;
//   p_bin = (1 - u) rms_bin / sum rms + u / 100,   weight = 1 / (100 p_bin)   (mean 1 under p),
// u the uniform share, rms_bin the running root mean square of the unweighted loss of the bin. Uniform until every bin
// has its first losses (warmup_losses). A draw is a pure function of (seed, visit, bin probabilities); the
// probabilities that step n draws from know the losses up to step n - 2 on every rank (a fixed lag, so that no step
// waits for the losses of the one before).

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "lsd/dist/host_communicator.h"

namespace lsd::train {

struct ImportanceOptions {
  double uniform_share = 0.01;
  double decay = 0.99;  // of a bin's mean square, with every loss that it meets
  std::int64_t warmup_losses = 10;
};

class ImportanceSampler {
 public:
  static constexpr int kBins = 100;

  enum class Kind : std::uint8_t { none, loss_rms };
  explicit ImportanceSampler(Kind kind, ImportanceOptions options = {}) : kind_(kind), options_(options) {
    update_probabilities();
  }

  struct Draw {
    float time;
    float weight;
  };
  Draw draw(std::uint32_t seed, std::uint64_t visit) const;
  // The draw that validation uses: uniform, weight 1.
  static Draw draw_uniform(std::uint32_t seed, std::uint64_t visit);

  // Unweighted losses of this rank in the current step, one per sequence with counted residues.
  void observe(float time, float loss);
  // Sums what all ranks observed and takes in what the step before observed. Collective, once per step.
  // `discard` drops this step's losses (a skipped step), on all ranks alike.
  void finish_step(dist::HostCommunicator& ranks, bool discard);

  Kind kind() const { return kind_; }
  bool warmed_up() const;
  std::span<const double> probabilities() const { return probability_; }
  // Everything that a resumed run needs, and back. Throws DataError when the size does not fit.
  std::vector<double> state() const;
  void set_state(std::span<const double> state);

 private:
  struct Sums {
    std::array<double, kBins> squares{}, counts{};
  };
  static int bin_of(float time);
  void take_in(const Sums& sums);
  void update_probabilities();

  Kind kind_;
  ImportanceOptions options_;
  std::array<double, kBins> mean_square_{}, seen_{}, probability_{}, cumulative_{};
  Sums current_, pending_;
};

}  // namespace lsd::train
