#include "cpu_forward.h"

#include <algorithm>
#include <numeric>
#include <thread>

#include "superres/winograd.h"
#include "team.h"
#include "winograd_avx2.h"

namespace superres {
namespace {

constexpr int kWidest = 256; // channels; the expanded map has at most 3 · 8²
constexpr std::ptrdiff_t kTilePx = 4;
// Of inputs and outputs: with fewer the transforms cost more than the multiplications that they save.
constexpr int kFewestChannels = 16;
constexpr std::int64_t kAtOnce = 64; // output pixels whose sums stay in the first cache

bool suits_winograd([[maybe_unused]] const Layer &layer) {
#ifdef SUPERRES_WINOGRAD
  return layer.side == 3 && std::min(layer.in, layer.out) >= kFewestChannels && sr_winograd_supported() == 1;
#else
  return false;
#endif
}

// To the nearest whole number, halves to the even one, of 0 to 255: what is added pushes the fraction out of float32.
inline float rounded(float value) { return (value + 12582912.0f) - 12582912.0f; }

} // namespace

CpuForward::CpuForward(const Network &network, int threads, bool plain)
    : numbers_(network.numbers),
      threads_(threads > 0 ? threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()))),
      widest_(3), origin_multiple_(network.origin_multiple()) {
  const auto &output = network.output();
  for (const auto &layer : network.layers) {
    if (&layer == &output)
      break;
    Convolution made{PlainConvolution(layer), layer.in, layer.out, {}};
#ifdef SUPERRES_WINOGRAD
    if (!plain && suits_winograd(layer)) {
      const std::ptrdiff_t strides[4] = {static_cast<std::ptrdiff_t>(layer.in) * 9, 9, 3, 1};
      made.transformed.resize(static_cast<std::size_t>(transformed_size(layer.in, layer.out)));
      transform_weights(layer.in, layer.out, layer.weight.data(), strides, made.transformed.data());
    }
#else
    static_cast<void>(plain);
#endif
    if (&layer != &network.expand())
      widest_ = std::max(widest_, layer.out);
    layers_.push_back(std::move(made));
  }
  output_weight_ = output.weight; // (3, 3, 3, 3): output, colour, row, column
  output_bias_ = output.bias;
}

std::string CpuForward::kernel_text() const {
  const auto fast = std::count_if(layers_.begin(), layers_.end(),
                                  [](const Convolution &each) { return !each.transformed.empty(); });
  if (fast == 0)
    return "plain loops";
  return "Winograd F(4x4, 3x3) by AVX2 for " + std::to_string(fast) + " of " + std::to_string(layers_.size() + 1) +
         " layers, plain loops for the others";
}

int CpuForward::origin_multiple() const {
  const bool fast = std::any_of(layers_.begin(), layers_.end(),
                                [](const Convolution &each) { return !each.transformed.empty(); });
  return fast ? std::lcm(origin_multiple_, static_cast<int>(kTilePx)) : origin_multiple_;
}

int CpuForward::halo_px() const {
  int needed = 1; // of the fine picture at most one coarse pixel further
  for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) {
    if (!layer->transformed.empty())
      needed = (needed + static_cast<int>(kTilePx) - 1) / static_cast<int>(kTilePx) * static_cast<int>(kTilePx);
    needed += 1;
  }
  return needed;
}

std::size_t CpuForward::line_floats(std::int64_t w) const {
  const auto columns = scaled(w, numbers_);
  return static_cast<std::size_t>(numbers_.down * (columns + 3));
}

std::size_t CpuForward::scratch_floats(std::int64_t w) const {
  std::size_t most = 9 * line_floats(w);
#ifdef SUPERRES_WINOGRAD
  for (const auto &each : layers_)
    if (!each.transformed.empty())
      most = std::max(most, static_cast<std::size_t>(scratch_size(each.inputs, each.outputs)));
#endif
  return (most + 15) / 16 * 16;
}

// Three maps in turn (a block's input, middle and output), the expanded one in the memory of the two that are free by then;
// and what each thread needs for itself.  One image at a time: memory does not grow with n.
std::size_t CpuForward::workspace_bytes(std::int64_t, std::int64_t h, std::int64_t w) const {
  const auto pixels = static_cast<std::size_t>(h) * static_cast<std::size_t>(w);
  const auto map = pixels * static_cast<std::size_t>(widest_);
  const auto expanded = pixels * static_cast<std::size_t>(expand().outputs);
  return (static_cast<std::size_t>(threads_) * scratch_floats(w) + map + std::max(2 * map, expanded)) * sizeof(float);
}

void CpuForward::run(const Frames &in, const Frames &out, std::int64_t n, std::int64_t h, std::int64_t w,
                     const Rows &rows, float *workspace) const {
  float *const scratch = workspace;
  float *const middle_place = workspace + static_cast<std::size_t>(threads_) * scratch_floats(w);
  const auto map_size = h * w * widest_, expanded_size = h * w * expand().outputs;
  float *const one = middle_place + map_size, *const other = middle_place + std::max(2 * map_size, expanded_size);
  for (std::int64_t image = 0; image < n; ++image) {
    const Map colours{middle_place, h, w, 3};
    load(in, image, colours);
    // Input and output of the blocks take turns; the last output must lie where the expanded map does not reach.
    Map x{numbers_.blocks % 2 ? one : other, h, w, layers_.front().outputs};
    convolve(layers_.front(), colours, x, numbers_.input_relu != 0, nullptr, scratch);
    for (std::size_t block = 0; block < static_cast<std::size_t>(numbers_.blocks); ++block) {
      const auto &first = layers_[1 + 2 * block], &second = layers_[2 + 2 * block];
      const Map middle{middle_place, h, w, first.outputs};
      const Map y{x.values == one ? other : one, h, w, second.outputs};
      convolve(first, x, middle, true, nullptr, scratch);
      convolve(second, middle, y, true, &x, scratch);
      x = y;
    }
    const Map expanded{middle_place, h, w, expand().outputs};
    convolve(expand(), x, expanded, false, nullptr, scratch);
    store(expanded, out, rows, image, scratch);
  }
}

void CpuForward::load(const Frames &in, std::int64_t image, const Map &map) const {
  in_parts(map.h, threads_, [&](std::ptrdiff_t, std::int64_t first, std::int64_t last) {
    for (std::int64_t y = first; y < last; ++y)
      for (std::int64_t x = 0; x < map.w; ++x)
        for (int c = 0; c < 3; ++c) {
          const auto at = image * in.strides[0] + c * in.strides[1] + y * in.strides[2] + x * in.strides[3];
          float &value = map.values[(y * map.w + x) * 3 + c];
          if (in.is_u8)
            value = static_cast<float>(static_cast<const std::uint8_t *>(in.data)[at]) / 255.0f;
          else
            value = static_cast<const float *>(in.data)[at];
        }
  });
}

// out = conv(in) + bias, then the ReLU, then the residual, whose missing channels are zero.
void CpuForward::convolve(const Convolution &convolution, const Map &in, const Map &out, bool relu,
                          const Map *residual, [[maybe_unused]] float *scratch) const {
#ifdef SUPERRES_WINOGRAD
  if (!convolution.transformed.empty()) {
    Epilogue after;
    after.bias = convolution.plain.bias();
    after.relu = relu;
    after.residual = residual != nullptr ? residual->values : nullptr;
    after.residual_channels = residual != nullptr ? residual->channels : 0;
    const Sizes sizes{1, static_cast<std::ptrdiff_t>(in.h), static_cast<std::ptrdiff_t>(in.w), in.channels, out.channels};
    convolve_transformed(sizes, in.values, convolution.transformed.data(), after, out.values, scratch, threads_);
    return;
  }
#endif
  in_parts(out.h, threads_, [&](std::ptrdiff_t, std::int64_t first, std::int64_t last) {
    float sums[kWidest];
    for (std::int64_t y = first; y < last; ++y)
      for (std::int64_t x = 0; x < out.w; ++x) {
        convolution.plain.sum(in, y, x, sums);
        float *target = out.values + (y * out.w + x) * out.channels;
        for (int o = 0; o < out.channels; ++o)
          target[o] = relu ? std::max(0.0f, sums[o]) : sums[o];
        if (residual != nullptr) {
          const float *source = residual->values + (y * out.w + x) * residual->channels;
          for (int o = 0; o < residual->channels; ++o)
            target[o] += source[o];
        }
      }
  });
}

// The strided convolution 3 to 3 over the fine picture, clamped and rounded where the output is uint8.  The picture lies
// in the expanded map, channel c·up² + i·up + j of a pixel being row i, column j of colour c.  Its rows are taken out one by
// one, the pixels of each column modulo `down` together, so that neighbouring outputs read neighbouring values.
void CpuForward::store(const Map &expanded, const Frames &out, const Rows &rows, std::int64_t image,
                       float *scratch) const {
  const std::int64_t up = numbers_.up, down = numbers_.down, fine_h = expanded.h * up;
  const auto columns = scaled(expanded.w, numbers_);
  const auto line = static_cast<std::int64_t>(line_floats(expanded.w)), phase_size = columns + 3;
  const auto scratch_size = static_cast<std::int64_t>(scratch_floats(expanded.w));
  in_parts(rows.end - rows.begin, threads_, [&](std::ptrdiff_t part, std::int64_t first, std::int64_t last) {
    float *const lines = scratch + part * scratch_size; // [fine row modulo 3][colour]
    std::int64_t held[3] = {-2, -2, -2};
    for (std::int64_t row = first; row < last; ++row) {
      const std::int64_t centre = (rows.begin + row) * down;
      for (std::int64_t fine_y = centre - 1; fine_y <= centre + 1; ++fine_y) {
        const auto slot = (fine_y + 3) % 3;
        if (held[slot] == fine_y)
          continue;
        held[slot] = fine_y;
        float *const place = lines + slot * 3 * line;
        std::fill(place, place + 3 * line, 0.0f);
        if (fine_y < 0 || fine_y >= fine_h)
          continue;
        const float *pixel = expanded.values + fine_y / up * expanded.w * expanded.channels + fine_y % up * up;
        // Column x of the picture is q = x + down here, in phase q % down at q / down: so x = -1 has a place, and is zero.
        std::int64_t phase = 0, at = 1;
        for (std::int64_t x = 0; x < expanded.w; ++x, pixel += expanded.channels)
          for (std::int64_t j = 0; j < up; ++j) {
            for (std::int64_t c = 0; c < 3; ++c)
              place[c * line + phase * phase_size + at] = pixel[c * up * up + j];
            if (++phase == down) {
              phase = 0;
              ++at;
            }
          }
      }
      for (std::int64_t x = 0; x < columns; x += kAtOnce) {
        const auto count = std::min(kAtOnce, columns - x);
        for (int o = 0; o < 3; ++o) {
          float sums[kAtOnce];
          std::fill(sums, sums + kAtOnce, output_bias_[static_cast<std::size_t>(o)]);
          for (int c = 0; c < 3; ++c)
            for (int tap = 0; tap < 9; ++tap) {
              const auto q = down + tap % 3 - 1;
              const float *source = lines + ((centre + tap / 3 - 1 + 3) % 3 * 3 + c) * line + q % down * phase_size +
                                    q / down + x;
              const float weight = output_weight_[static_cast<std::size_t>((o * 3 + c) * 9 + tap)];
              for (std::int64_t i = 0; i < count; ++i)
                sums[i] += weight * source[i];
            }
          const auto start = image * out.strides[0] + o * out.strides[1] + row * out.strides[2] + x * out.strides[3];
          if (out.is_u8)
            for (std::int64_t i = 0; i < count; ++i)
              static_cast<std::uint8_t *>(out.data)[start + i * out.strides[3]] =
                  static_cast<std::uint8_t>(rounded(std::min(1.0f, std::max(0.0f, sums[i])) * 255.0f));
          else
            for (std::int64_t i = 0; i < count; ++i)
              static_cast<float *>(out.data)[start + i * out.strides[3]] = sums[i];
        }
      }
    }
  });
}

} // namespace superres
