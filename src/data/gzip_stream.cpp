// SPDX-License-Identifier: Apache-2.0
// gzip by ISA-L, about twice as fast as zlib. Its pitfalls, all handled here: it answers OK for ever on input that
// ended too early; a file may hold several members, each of which needs a reset with the check flag set anew; bytes
// behind the last member are left in its input.
#include <fmt/format.h>
#include <isa-l/igzip_lib.h>

#include <algorithm>
#include <vector>

#include "byte_stream_internal.h"
#include "lsd/core/error.h"

namespace lsd::data {
namespace {

class GzipStream final : public ByteStream {
 public:
  explicit GzipStream(InputFile& file) : file_(file), input_(256 << 10), state_(std::make_unique<inflate_state>()) {
    start_member();
  }

  std::size_t read(std::span<char> out) override {
    state_->next_out = reinterpret_cast<std::uint8_t*>(out.data());
    state_->avail_out = static_cast<std::uint32_t>(out.size());
    while (state_->avail_out > 0 && !ended_) {
      if (state_->block_state == ISAL_BLOCK_FINISH) {
        next_member();
      } else {
        inflate_some();
      }
    }
    return out.size() - state_->avail_out;
  }

 private:
  void start_member() {
    isal_inflate_init(state_.get());
    state_->crc_flag = ISAL_GZIP;
  }

  bool refill() {
    if (state_->avail_in > 0) return true;
    const auto count = file_.read(input_);
    state_->next_in = reinterpret_cast<std::uint8_t*>(input_.data());
    state_->avail_in = static_cast<std::uint32_t>(count);
    return count > 0;
  }

  void inflate_some() {
    const bool has_input = refill();
    const auto before_out = state_->avail_out;
    const int status = isal_inflate(state_.get());
    if (status < 0) throw damaged(status);  // positive ones ask for more input or room
    const bool stuck = !has_input && state_->avail_out == before_out && state_->block_state != ISAL_BLOCK_FINISH;
    if (stuck) {
      throw DataError(
          fmt::format("{}: the gzip data end in the middle of member {}: the file was cut short; fetch or copy it "
                      "again",
                      file_.name(), member_));
    }
  }

  // Behind a member: another one, zeros (padding of tapes and block devices), or the end.
  void next_member() {
    while (refill()) {
      if (*state_->next_in != 0) break;
      ++state_->next_in;
      --state_->avail_in;
      padded_ = true;
    }
    if (!refill()) {
      ended_ = true;
      return;
    }
    if (*state_->next_in != 0x1F || padded_) {
      throw DataError(
          fmt::format("{}: garbage behind gzip member {}: the file was damaged or two files were joined wrongly; "
                      "fetch it again",
                      file_.name(), member_));
    }
    auto* const next_in = state_->next_in;
    const auto avail_in = state_->avail_in;
    auto* const next_out = state_->next_out;
    const auto avail_out = state_->avail_out;
    start_member();
    state_->next_in = next_in;
    state_->avail_in = avail_in;
    state_->next_out = next_out;
    state_->avail_out = avail_out;
    ++member_;
  }

  DataError damaged(int status) const {
    const char* what = "the compressed data are invalid";
    if (status == ISAL_INCORRECT_CHECKSUM) what = "the checksum does not fit the data";
    if (status == ISAL_INVALID_WRAPPER) what = "the gzip head is invalid";
    if (status == ISAL_UNSUPPORTED_METHOD) what = "the compression method is unknown";
    return DataError(fmt::format("{}: gzip member {} is damaged: {} (code {}); fetch or copy the file again",
                                 file_.name(), member_, what, status));
  }

  InputFile& file_;
  std::vector<char> input_;
  std::unique_ptr<inflate_state> state_;
  std::int64_t member_ = 1;
  bool ended_ = false, padded_ = false;
};

}  // namespace

std::unique_ptr<ByteStream> make_gzip_stream(InputFile& file) {
  return std::make_unique<GzipStream>(file);
}

}  // namespace lsd::data
