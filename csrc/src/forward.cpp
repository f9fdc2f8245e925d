// The C API of forwards: arguments are checked here, and no exception leaves.
#include <functional>

#include "api.h"

using namespace superres;

struct sr_graph {
  std::function<void(void *stream)> launch;
};

namespace {

void require_size(std::int64_t n, std::int64_t h, std::int64_t w) {
  require(n >= 0 && h >= 1 && w >= 1 && h <= kLongestSide && w <= kLongestSide,
          "the input has " + std::to_string(n) + " images of " + std::to_string(h) + " x " + std::to_string(w) +
              " pixels; expected 0 or more, of 1 to 2^24 pixels a side");
}

// What a forward gets from its caller beside sizes.
template <class Value> struct Call {
  const sr_model *model;
  const Value *in;
  const std::int64_t *in_strides;
  Value *out;
  const std::int64_t *out_strides;
  void *workspace;
  std::size_t workspace_bytes;
  void *stream;

  void check() const {
    require(in != nullptr && out != nullptr && in_strides != nullptr && out_strides != nullptr, "a pointer is NULL");
    require(reinterpret_cast<std::uintptr_t>(in) % sizeof(Value) == 0 &&
                reinterpret_cast<std::uintptr_t>(out) % sizeof(Value) == 0,
            "float frames must be aligned to 4 bytes");
    require(workspace != nullptr && reinterpret_cast<std::uintptr_t>(workspace) % 256 == 0,
            "the workspace must be aligned to 256 bytes");
  }
};

// A forward whose arguments are right: h rows are read from the first of `from` on; of their output, `rows` are written.
struct Forward {
  const sr_model *model;
  Frames from, to;
  std::int64_t n, h, w;
  Rows rows;
  void *workspace;

  void run(void *stream) const {
    if (n == 0)
      return;
    if (const auto *cpu = std::get_if<std::unique_ptr<CpuForward>>(&model->forward))
      (*cpu)->run(from, to, n, h, w, rows, static_cast<float *>(workspace));
    else
      std::get<std::unique_ptr<DeviceForward>>(model->forward)->run(from, to, n, h, w, rows, workspace, stream);
  }
};

template <class Value>
Forward checked(const Call<Value> &call, std::int64_t n, std::int64_t h, std::int64_t w, const Rows &rows) {
  require(call.model != nullptr, "model is NULL");
  require_size(n, h, w);
  Frames from{const_cast<Value *>(call.in), {}, sizeof(Value) == 1}, to{call.out, {}, sizeof(Value) == 1};
  if (n > 0) {
    const auto needed = sr_workspace_size(call.model, n, h, w);
    require(needed > 0, "the input is too large for one call; cut it into bands");
    require(call.workspace_bytes >= needed, "the workspace has " + std::to_string(call.workspace_bytes) +
                                                " bytes; expected " + std::to_string(needed) + " (sr_workspace_size)");
    call.check();
    std::copy(call.in_strides, call.in_strides + 4, from.strides);
    std::copy(call.out_strides, call.out_strides + 4, to.strides);
  }
  return {call.model, from, to, n, h, w, rows, call.workspace};
}

template <class Value>
Forward whole(const Call<Value> &call, std::int64_t n, std::int64_t h, std::int64_t w) {
  require(call.model != nullptr, "model is NULL");
  require_size(n, h, w);
  return checked(call, n, h, w, Rows{0, scaled(h, call.model->geometry.numbers)});
}

template <class Value>
void forward_band(const Call<Value> &call, std::int64_t n, std::int64_t w, const sr_band *band) {
  require(call.model != nullptr && band != nullptr, "a pointer is NULL");
  require(band->read_rows >= 1 && band->skip_rows >= 0 && band->out_rows >= 1 && band->read_rows <= kLongestSide &&
              band->out_rows <= scaled(band->read_rows, call.model->geometry.numbers) - band->skip_rows,
          "the band is not one of sr_band_of's");
  checked(call, n, band->read_rows, w, Rows{band->skip_rows, band->skip_rows + band->out_rows}).run(call.stream);
}

template <class Value> void forward_bands(const Call<Value> &call, std::int64_t n, std::int64_t h, std::int64_t w) {
  require(call.model != nullptr, "model is NULL");
  require_size(n, h, w);
  if (n == 0)
    return;
  const auto most = sr_band_rows(call.model, n, h, w, call.workspace_bytes);
  require(most > 0, "the workspace has " + std::to_string(call.workspace_bytes) +
                        " bytes, too few for any band of this width; sr_band_rows says what fits");
  call.check();
  // Bands of nearly equal height: as many, with less halo in the last one.
  const std::int64_t multiple = call.model->geometry.origin_multiple, count = (h + most - 1) / most;
  const std::int64_t rows = (h + count * multiple - 1) / (count * multiple) * multiple;
  for (std::int64_t first = 0; first < h; first += rows) {
    const auto band = band_of(call.model->geometry, h, first, std::min(rows, h - first));
    auto part = call;
    part.in += band.read_first * call.in_strides[2];
    part.out += band.out_first * call.out_strides[2];
    forward_band(part, n, w, &band);
  }
}

template <class Value>
std::unique_ptr<sr_graph> captured(const Call<Value> &call, std::int64_t n, std::int64_t h, std::int64_t w) {
  const auto forward = whole(call, n, h, w);
  auto graph = std::make_unique<sr_graph>();
  if (const auto *device = std::get_if<std::unique_ptr<DeviceForward>>(&call.model->forward)) {
    std::shared_ptr<const Captured> launches = (*device)->capture([&](void *stream) { forward.run(stream); });
    graph->launch = [launches](void *stream) { launches->launch(stream); };
  } else {
    graph->launch = [forward](void *stream) { forward.run(stream); };
  }
  return graph;
}

template <class Value>
sr_status create_graph(const Call<Value> &call, std::int64_t n, std::int64_t h, std::int64_t w, sr_graph **graph,
                       sr_message *message) {
  return guarded(message, [&] {
    require(graph != nullptr, "a pointer is NULL");
    *graph = nullptr;
    *graph = captured(call, n, h, w).release();
  });
}

} // namespace

extern "C" {

sr_status sr_forward_u8(const sr_model *model, const uint8_t *in, const int64_t in_strides[4], uint8_t *out,
                        const int64_t out_strides[4], int64_t n, int64_t h, int64_t w, void *workspace,
                        size_t workspace_bytes, void *stream, sr_message *message) {
  const Call<uint8_t> call{model, in, in_strides, out, out_strides, workspace, workspace_bytes, stream};
  return guarded(message, [&] { whole(call, n, h, w).run(stream); });
}

sr_status sr_forward_band_u8(const sr_model *model, const uint8_t *in, const int64_t in_strides[4], uint8_t *out,
                             const int64_t out_strides[4], int64_t n, int64_t w, const sr_band *band, void *workspace,
                             size_t workspace_bytes, void *stream, sr_message *message) {
  const Call<uint8_t> call{model, in, in_strides, out, out_strides, workspace, workspace_bytes, stream};
  return guarded(message, [&] { forward_band(call, n, w, band); });
}

sr_status sr_forward_bands_u8(const sr_model *model, const uint8_t *in, const int64_t in_strides[4], uint8_t *out,
                              const int64_t out_strides[4], int64_t n, int64_t h, int64_t w, void *workspace,
                              size_t workspace_bytes, void *stream, sr_message *message) {
  const Call<uint8_t> call{model, in, in_strides, out, out_strides, workspace, workspace_bytes, stream};
  return guarded(message, [&] { forward_bands(call, n, h, w); });
}

sr_status sr_forward_f32(const sr_model *model, const float *in, const int64_t in_strides[4], float *out,
                         const int64_t out_strides[4], int64_t n, int64_t h, int64_t w, void *workspace,
                         size_t workspace_bytes, void *stream, sr_message *message) {
  const Call<float> call{model, in, in_strides, out, out_strides, workspace, workspace_bytes, stream};
  return guarded(message, [&] { whole(call, n, h, w).run(stream); });
}

sr_status sr_forward_band_f32(const sr_model *model, const float *in, const int64_t in_strides[4], float *out,
                              const int64_t out_strides[4], int64_t n, int64_t w, const sr_band *band,
                              void *workspace, size_t workspace_bytes, void *stream, sr_message *message) {
  const Call<float> call{model, in, in_strides, out, out_strides, workspace, workspace_bytes, stream};
  return guarded(message, [&] { forward_band(call, n, w, band); });
}

sr_status sr_forward_bands_f32(const sr_model *model, const float *in, const int64_t in_strides[4], float *out,
                               const int64_t out_strides[4], int64_t n, int64_t h, int64_t w, void *workspace,
                               size_t workspace_bytes, void *stream, sr_message *message) {
  const Call<float> call{model, in, in_strides, out, out_strides, workspace, workspace_bytes, stream};
  return guarded(message, [&] { forward_bands(call, n, h, w); });
}

sr_status sr_graph_create_u8(const sr_model *model, const uint8_t *in, const int64_t in_strides[4], uint8_t *out,
                             const int64_t out_strides[4], int64_t n, int64_t h, int64_t w, void *workspace,
                             size_t workspace_bytes, sr_graph **graph, sr_message *message) {
  const Call<uint8_t> call{model, in, in_strides, out, out_strides, workspace, workspace_bytes, nullptr};
  return create_graph(call, n, h, w, graph, message);
}

sr_status sr_graph_create_f32(const sr_model *model, const float *in, const int64_t in_strides[4], float *out,
                              const int64_t out_strides[4], int64_t n, int64_t h, int64_t w, void *workspace,
                              size_t workspace_bytes, sr_graph **graph, sr_message *message) {
  const Call<float> call{model, in, in_strides, out, out_strides, workspace, workspace_bytes, nullptr};
  return create_graph(call, n, h, w, graph, message);
}

sr_status sr_graph_launch(const sr_graph *graph, void *stream, sr_message *message) {
  return guarded(message, [&] {
    require(graph != nullptr, "graph is NULL");
    graph->launch(stream);
  });
}

void sr_graph_destroy(sr_graph *graph) { delete graph; }

} // extern "C"
