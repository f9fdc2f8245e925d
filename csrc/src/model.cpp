// The C API: arguments are checked here, and no exception leaves.
#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <variant>

#include "bands.h"
#include "device_forward.h"
#include "plain.h"
#include "weights_file.h"

using namespace superres;

struct sr_model {
  BandGeometry geometry;
  std::variant<std::unique_ptr<PlainForward>, std::unique_ptr<DeviceForward>> forward;
  std::string description;
};

namespace {

constexpr std::int64_t kLongestSide = 1 << 24; // at most 2^27 fine pixels a side

sr_status report(const Failure &failure, sr_message *message) {
  if (message != nullptr) {
    auto length = std::min(failure.text.size(), sizeof message->text - 1);
    // Cut before a character of UTF-8, not inside it: its further bytes are 10xxxxxx.
    if (length < failure.text.size())
      while (length > 0 && (static_cast<unsigned char>(failure.text[length]) & 0xC0) == 0x80)
        --length;
    std::memcpy(message->text, failure.text.data(), length);
    message->text[length] = '\0';
  }
  return failure.status;
}

// Run, and turn whatever is thrown into a status and a message.
template <class Call> sr_status guarded(sr_message *message, const Call &call) {
  try {
    call();
    if (message != nullptr)
      message->text[0] = '\0';
    return SR_OK;
  } catch (const Failure &failure) {
    return report(failure, message);
  } catch (const std::bad_alloc &) {
    return report({SR_OUT_OF_MEMORY, "not enough memory"}, message);
  } catch (const std::exception &error) {
    return report({SR_INVALID_ARGUMENT, error.what()}, message);
  }
}

void require(bool holds, const std::string &text) {
  if (!holds)
    throw Failure{SR_INVALID_ARGUMENT, text};
}

std::string described(const Network &network, const std::string &device, const char *arithmetic,
                      const std::string &kernel) {
  std::string channels;
  for (const int each : network.channels)
    channels += (channels.empty() ? "" : " ") + std::to_string(each);
  return "device=" + device + "\narithmetic=" + arithmetic + "\nkernel=" + kernel + "\nchannels=" + channels +
         "\nup=" + std::to_string(network.numbers.up) + "\ndown=" + std::to_string(network.numbers.down) +
         "\nhalo_px=" + std::to_string(network.halo_px()) +
         "\norigin_multiple=" + std::to_string(network.origin_multiple()) + "\n";
}

std::unique_ptr<sr_model> made(const Network &network, int device, int threads, sr_variant variant) {
  require(variant >= SR_VARIANT_DEFAULT && variant <= SR_VARIANT_FOLDED,
          "variant is " + std::to_string(static_cast<int>(variant)) + "; expected 0 to 3");
  require(threads >= 0 && threads <= 1024, "threads is " + std::to_string(threads) + "; expected 0 to 1024");
  auto model = std::make_unique<sr_model>();
  model->geometry = {network.numbers, network.halo_px(), network.origin_multiple()};
  if (device == SR_DEVICE_CPU) {
    auto plain = std::make_unique<PlainForward>(network, threads);
    model->description =
        described(network, "cpu, threads " + std::to_string(plain->threads()), "float32", "plain loops");
    model->forward = std::move(plain);
    return model;
  }
  require(device >= 0 || device == SR_DEVICE_EMULATED,
          "device is " + std::to_string(device) + "; expected -1 for the CPU or the number of a GPU");
  auto run =
      std::make_unique<DeviceForward>(network, device >= 0 ? cuda_backend(device) : emulated_backend(), variant);
  const char *choice = variant == SR_VARIANT_DEFAULT ? "by design, not measured on a card" : "asked for";
  model->description =
      described(network, run->device_name(), "float16 storage, float32 sums",
                run->kernel_text() + "\nlaunches=" + std::to_string(run->launches()) + "\nchoice=" + choice);
  model->forward = std::move(run);
  return model;
}

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

// h rows are read from `in` on; of their output, `rows` are written from `out` on.
template <class Value>
void forward(const Call<Value> &call, std::int64_t n, std::int64_t h, std::int64_t w, const Rows &rows) {
  require(call.model != nullptr, "model is NULL");
  require_size(n, h, w);
  if (n == 0)
    return;
  const auto needed = sr_workspace_size(call.model, n, h, w);
  require(needed > 0, "the input is too large for one call; cut it into bands");
  require(call.workspace_bytes >= needed, "the workspace has " + std::to_string(call.workspace_bytes) +
                                              " bytes; expected " + std::to_string(needed) + " (sr_workspace_size)");
  call.check();
  Frames from{const_cast<Value *>(call.in), {}, sizeof(Value) == 1}, to{call.out, {}, sizeof(Value) == 1};
  std::copy(call.in_strides, call.in_strides + 4, from.strides);
  std::copy(call.out_strides, call.out_strides + 4, to.strides);
  if (const auto *plain = std::get_if<std::unique_ptr<PlainForward>>(&call.model->forward))
    (*plain)->run(from, to, n, h, w, rows, static_cast<float *>(call.workspace));
  else
    std::get<std::unique_ptr<DeviceForward>>(call.model->forward)
        ->run(from, to, n, h, w, rows, call.workspace, call.stream);
}

template <class Value> void forward_whole(const Call<Value> &call, std::int64_t n, std::int64_t h, std::int64_t w) {
  require(call.model != nullptr, "model is NULL");
  require_size(n, h, w);
  forward(call, n, h, w, Rows{0, scaled(h, call.model->geometry.numbers)});
}

template <class Value>
void forward_band(const Call<Value> &call, std::int64_t n, std::int64_t w, const sr_band *band) {
  require(call.model != nullptr && band != nullptr, "a pointer is NULL");
  require(band->read_rows >= 1 && band->skip_rows >= 0 && band->out_rows >= 1 && band->read_rows <= kLongestSide &&
              band->skip_rows + band->out_rows <= scaled(band->read_rows, call.model->geometry.numbers),
          "the band is not one of sr_band_of's");
  forward(call, n, band->read_rows, w, Rows{band->skip_rows, band->skip_rows + band->out_rows});
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

} // namespace

extern "C" {

const char *sr_status_string(sr_status status) {
  switch (status) {
  case SR_OK:
    return "ok";
  case SR_INVALID_ARGUMENT:
    return "an argument is not what the function takes";
  case SR_INVALID_WEIGHTS:
    return "the weights do not fit the network, or are not finite";
  case SR_FILE_ERROR:
    return "the weights file cannot be read";
  case SR_NOT_SUPPORTED:
    return "this build or this machine cannot do it";
  case SR_OUT_OF_MEMORY:
    return "not enough memory";
  case SR_CUDA_ERROR:
    return "the CUDA runtime failed";
  }
  return "unknown status";
}

int sr_device_count(void) { return cuda_device_count(); }

sr_status sr_model_create(const sr_network *network, const sr_tensor *tensors, size_t count, int device, int threads,
                          sr_model **model, sr_message *message) {
  return sr_model_create_variant(network, tensors, count, device, threads, SR_VARIANT_DEFAULT, model, message);
}

sr_status sr_model_create_variant(const sr_network *network, const sr_tensor *tensors, size_t count, int device,
                                  int threads, sr_variant variant, sr_model **model, sr_message *message) {
  return guarded(message, [&] {
    require(network != nullptr && model != nullptr && (tensors != nullptr || count == 0), "a pointer is NULL");
    *model = nullptr;
    *model = made(make_network(*network, tensors, count), device, threads, variant).release();
  });
}

sr_status sr_model_load(const char *path, int device, int threads, sr_model **model, sr_message *message) {
  return guarded(message, [&] {
    require(path != nullptr && model != nullptr, "a pointer is NULL");
    *model = nullptr;
    *model = made(read_network(path), device, threads, SR_VARIANT_DEFAULT).release();
  });
}

void sr_model_destroy(sr_model *model) { delete model; }

void sr_output_size(const sr_model *model, int64_t h, int64_t w, int64_t *out_h, int64_t *out_w) {
  *out_h = scaled(h, model->geometry.numbers);
  *out_w = scaled(w, model->geometry.numbers);
}

void sr_tiling(const sr_model *model, int32_t *halo_px, int32_t *origin_multiple) {
  *halo_px = model->geometry.halo_px;
  *origin_multiple = model->geometry.origin_multiple;
}

const char *sr_model_describe(const sr_model *model) { return model->description.c_str(); }

size_t sr_workspace_size(const sr_model *model, int64_t n, int64_t h, int64_t w) {
  if (n < 1 || h < 1 || w < 1 || h > kLongestSide || w > kLongestSide || n > kLongestSide)
    return 0;
  if (const auto *plain = std::get_if<std::unique_ptr<PlainForward>>(&model->forward))
    return (*plain)->workspace_bytes(n, h, w);
  return std::get<std::unique_ptr<DeviceForward>>(model->forward)->workspace_bytes(n, h, w);
}

sr_status sr_band_of(const sr_model *model, int64_t h, int64_t first, int64_t rows, sr_band *band, sr_message *message) {
  return guarded(message, [&] {
    require(model != nullptr && band != nullptr, "a pointer is NULL");
    *band = band_of(model->geometry, h, first, rows);
  });
}

int64_t sr_band_rows(const sr_model *model, int64_t n, int64_t h, int64_t w, size_t workspace_bytes) {
  // The most rows that a forward of that width can read: the workspace grows with them.
  int64_t fits = 0, too_many = h + 1;
  while (fits + 1 < too_many) {
    const auto rows = fits + (too_many - fits) / 2;
    const auto needed = sr_workspace_size(model, n, rows, w);
    (needed > 0 && needed <= workspace_bytes ? fits : too_many) = rows;
  }
  return h >= 1 ? rows_of_band(model->geometry, h, fits) : 0;
}

sr_status sr_forward_u8(const sr_model *model, const uint8_t *in, const int64_t in_strides[4], uint8_t *out,
                        const int64_t out_strides[4], int64_t n, int64_t h, int64_t w, void *workspace,
                        size_t workspace_bytes, void *stream, sr_message *message) {
  const Call<uint8_t> call{model, in, in_strides, out, out_strides, workspace, workspace_bytes, stream};
  return guarded(message, [&] { forward_whole(call, n, h, w); });
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
  return guarded(message, [&] { forward_whole(call, n, h, w); });
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

} // extern "C"
