// The C API of models: arguments are checked here, and no exception leaves.
#include "api.h"
#include "weights_file.h"

using namespace superres;

namespace {

std::string described(const Network &network, const BandGeometry &geometry, const std::string &device,
                      const char *arithmetic, const std::string &kernel) {
  std::string channels;
  for (const int each : network.channels)
    channels += (channels.empty() ? "" : " ") + std::to_string(each);
  return "device=" + device + "\narithmetic=" + arithmetic + "\nkernel=" + kernel + "\nchannels=" + channels +
         "\nup=" + std::to_string(network.numbers.up) + "\ndown=" + std::to_string(network.numbers.down) +
         "\nhalo_px=" + std::to_string(geometry.halo_px) +
         "\norigin_multiple=" + std::to_string(geometry.origin_multiple) + "\n";
}

std::unique_ptr<sr_model> made(const Network &network, int device, int threads, sr_variant variant) {
  require(variant >= SR_VARIANT_DEFAULT && variant <= SR_VARIANT_FOLDED,
          "variant is " + std::to_string(static_cast<int>(variant)) + "; expected 0 to 3");
  require(threads >= 0 && threads <= 1024, "threads is " + std::to_string(threads) + "; expected 0 to 1024");
  auto model = std::make_unique<sr_model>();
  model->geometry = {network.numbers, network.halo_px(), network.origin_multiple()};
  if (device == SR_DEVICE_CPU) {
    auto cpu = std::make_unique<CpuForward>(network, threads, variant == SR_VARIANT_LAYERS);
    model->geometry.halo_px = cpu->halo_px();
    model->geometry.origin_multiple = cpu->origin_multiple();
    model->description = described(network, model->geometry, "cpu, threads " + std::to_string(cpu->threads()),
                                   "float32", cpu->kernel_text());
    model->forward = std::move(cpu);
    return model;
  }
  require(device >= 0 || device == SR_DEVICE_EMULATED,
          "device is " + std::to_string(device) + "; expected -1 for the CPU or the number of a GPU");
  auto run =
      std::make_unique<DeviceForward>(network, device >= 0 ? cuda_backend(device) : emulated_backend(), variant);
  const char *choice = variant == SR_VARIANT_DEFAULT ? "by design, not measured on a card" : "asked for";
  model->description =
      described(network, model->geometry, run->device_name(), "float16 storage, float32 sums",
                run->kernel_text() + "\nlaunches=" + std::to_string(run->launches()) + "\nchoice=" + choice);
  model->forward = std::move(run);
  return model;
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
  if (const auto *cpu = std::get_if<std::unique_ptr<CpuForward>>(&model->forward))
    return (*cpu)->workspace_bytes(n, h, w);
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
  int64_t fits = 0, too_many = std::min(h, kLongestSide) + 1;
  while (fits + 1 < too_many) {
    const auto rows = fits + (too_many - fits) / 2;
    const auto needed = sr_workspace_size(model, n, rows, w);
    (needed > 0 && needed <= workspace_bytes ? fits : too_many) = rows;
  }
  return h >= 1 ? rows_of_band(model->geometry, h, fits) : 0;
}

} // extern "C"
