// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <zstd.h>

#include <vector>

#include "byte_stream_internal.h"
#include "lsd/core/error.h"

namespace lsd::data {
namespace {

struct CloseDecoder {
  void operator()(ZSTD_DStream* decoder) const { ZSTD_freeDStream(decoder); }
};

// Several frames in a row, skippable ones included.
class ZstdStream final : public ByteStream {
 public:
  explicit ZstdStream(InputFile& file) : file_(file), decoder_(ZSTD_createDStream()), input_(ZSTD_DStreamInSize()) {}

  std::size_t read(std::span<char> out) override {
    ZSTD_outBuffer target{out.data(), out.size(), 0};
    while (target.pos < target.size) {
      const bool exhausted = source_.pos == source_.size && !refill();
      const auto before = target.pos;
      if (exhausted && frame_finished_) break;
      const auto status = ZSTD_decompressStream(decoder_.get(), &target, &source_);
      if (ZSTD_isError(status)) {
        throw DataError(
            fmt::format("{}: the zstd data are damaged ({}), or garbage follows them; fetch or copy the file again",
                        file_.name(), ZSTD_getErrorName(status)));
      }
      frame_finished_ = status == 0;
      if (exhausted && !frame_finished_ && target.pos == before)
        throw DataError(fmt::format("{}: the zstd data end too early: the file was cut short; fetch or copy it again",
                                    file_.name()));
    }
    return target.pos;
  }

 private:
  bool refill() {
    source_ = {input_.data(), file_.read(input_), 0};
    return source_.size > 0;
  }

  InputFile& file_;
  std::unique_ptr<ZSTD_DStream, CloseDecoder> decoder_;
  std::vector<char> input_;
  ZSTD_inBuffer source_{};
  bool frame_finished_ = true;
};

}  // namespace

std::unique_ptr<ByteStream> make_zstd_stream(InputFile& file) {
  return std::make_unique<ZstdStream>(file);
}

}  // namespace lsd::data
