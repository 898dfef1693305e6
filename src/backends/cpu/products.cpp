// SPDX-License-Identifier: Apache-2.0
#include "products_internal.h"

#include <omp.h>

#include <map>
#include <oneapi/dnnl/dnnl.hpp>
#include <string>

#include "lsd/core/error.h"

namespace lsd::backends::cpu {
namespace {

using dnnl::memory;

// oneDNN fixes how many threads a product uses when it is made; ours use the one they are called from.
class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

memory::data_type type_of(DType type) {
  return type == DType::bfloat16 ? memory::data_type::bf16 : memory::data_type::f32;
}

memory::desc strided(std::int64_t rows, std::int64_t columns, DType type, std::int64_t stride, bool transposed) {
  return {{rows, columns}, type_of(type), transposed ? memory::dims{1, stride} : memory::dims{stride, 1}};
}

// Version 3 has no descriptions of operations apart from a primitive's own.
dnnl::matmul::primitive_desc describe(const dnnl::engine& engine, const memory::desc& a, const memory::desc& b,
                                      const memory::desc* bias, const memory::desc& c,
                                      const dnnl::primitive_attr& attributes) {
#if DNNL_VERSION_MAJOR >= 3
  return bias != nullptr ? dnnl::matmul::primitive_desc(engine, a, b, *bias, c, attributes)
                         : dnnl::matmul::primitive_desc(engine, a, b, c, attributes);
#else
  return {bias != nullptr ? dnnl::matmul::desc(a, b, *bias, c) : dnnl::matmul::desc(a, b, c), attributes, engine};
#endif
}

// Runs `body`; oneDNN's error becomes ours, naming the product.
template <class Body>
decltype(auto) with_dnnl(const ProductShape& shape, Body&& body) {
  try {
    return body();
  } catch (const dnnl::error& error) {
    throw SystemError("oneDNN refused the product [" + std::to_string(shape.m) + ", " + std::to_string(shape.k) +
                      "] x [" + std::to_string(shape.k) + ", " + std::to_string(shape.n) + "]: " + error.what());
  }
}

}  // namespace

struct Products::Prepared {
  dnnl::matmul primitive;
  memory::desc a, b, bias, c, scratch, plain_b;
};

struct Products::Cache {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  std::map<ProductShape, Prepared> prepared;
  std::map<ProductShape, memory::desc> packed_layouts;  // by shape with m = 0: products of any m share one packed B
};

Products::Products() : cache_(std::make_unique<Cache>()) {}
Products::~Products() = default;

Products::Prepared& Products::prepare(const ProductShape& shape) {
  if (const auto found = cache_->prepared.find(shape); found != cache_->prepared.end()) return found->second;
  const OneThread guard;
  return with_dnnl(shape, [&]() -> Prepared& {
    Prepared made;
    made.a = strided(shape.m, shape.k, shape.a, shape.a_stride, shape.a_transposed);
    made.plain_b = made.b = strided(shape.k, shape.n, shape.a, shape.b_stride, shape.b_transposed);
    made.c = strided(shape.m, shape.n, shape.c, shape.n, false);
    auto any_m = shape;
    any_m.m = 0;
    const auto layout = cache_->packed_layouts.find(any_m);
    if (shape.packed)
      made.b = layout != cache_->packed_layouts.end()
                   ? layout->second
                   : memory::desc({shape.k, shape.n}, type_of(shape.a), memory::format_tag::any);
    if (shape.bias) made.bias = {{1, shape.n}, type_of(shape.a), memory::dims{shape.n, 1}};
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (shape.add) {
      dnnl::post_ops add;
      add.append_sum(1.0F);
      attributes.set_post_ops(add);
    }
    const auto chosen = describe(cache_->engine, made.a, made.b, shape.bias ? &made.bias : nullptr, made.c, attributes);
    made.primitive = dnnl::matmul(chosen);
    made.b = chosen.weights_desc();
    made.scratch = chosen.scratchpad_desc();
    if (shape.packed) cache_->packed_layouts.try_emplace(any_m, made.b);
    return cache_->prepared.emplace(shape, std::move(made)).first->second;
  });
}

Products::Needs Products::needs(const ProductShape& shape) {
  const auto& prepared = prepare(shape);
  return {prepared.scratch.get_size(), shape.packed ? prepared.b.get_size() : 0};
}

void Products::pack(const ProductShape& shape, const void* b, void* packed) {
  auto& prepared = prepare(shape);
  const OneThread guard;
  with_dnnl(shape, [&] {
    memory from(prepared.plain_b, cache_->engine, const_cast<void*>(b)), to(prepared.b, cache_->engine, packed);
    dnnl::stream stream(cache_->engine);
    dnnl::reorder(from, to).execute(stream, from, to);
    stream.wait();
  });
}

void Products::multiply(const ProductShape& shape, const void* a, const void* b, const void* bias, void* c,
                        void* scratch) const {
  const auto& prepared = cache_->prepared.at(shape);
  const auto& engine = cache_->engine;
  const OneThread guard;  // some of oneDNN's products ask again when they run
  with_dnnl(shape, [&] {
    std::unordered_map<int, memory> operands{{DNNL_ARG_SRC, memory(prepared.a, engine, const_cast<void*>(a))},
                                             {DNNL_ARG_WEIGHTS, memory(prepared.b, engine, const_cast<void*>(b))},
                                             {DNNL_ARG_DST, memory(prepared.c, engine, c)},
                                             {DNNL_ARG_SCRATCHPAD, memory(prepared.scratch, engine, scratch)}};
    if (shape.bias) operands.emplace(DNNL_ARG_BIAS, memory(prepared.bias, engine, const_cast<void*>(bias)));
    dnnl::stream stream(engine);
    prepared.primitive.execute(stream, operands);
    stream.wait();
  });
}

}  // namespace lsd::backends::cpu
