#include "plain.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <thread>

// Standard C++ has no word for it, and without it the innermost loop is not vectorised.
#if defined(_MSC_VER)
#define SR_RESTRICT __restrict
#else
#define SR_RESTRICT __restrict__
#endif

namespace superres {
namespace {

constexpr int kWidest = 256;

// body(row) for each row, in any order, on `threads` threads.
template <class Body> void for_each_row(std::int64_t rows, int threads, const Body &body) {
  std::atomic<std::int64_t> next{0};
  const auto work = [&] {
    for (std::int64_t row; (row = next.fetch_add(1)) < rows;)
      body(row);
  };
  std::vector<std::thread> helpers;
  const auto wanted = std::min<std::int64_t>(threads, rows) - 1;
  helpers.reserve(static_cast<std::size_t>(std::max<std::int64_t>(wanted, 0)));
  try {
    for (std::int64_t i = 0; i < wanted; ++i)
      helpers.emplace_back(work);
  } catch (const std::exception &) {
    // The system gives no further thread, or no memory for one: fewer do the same work.
  }
  work();
  for (auto &helper : helpers)
    helper.join();
}

} // namespace

PlainForward::PlainForward(const Network &network, int threads)
    : numbers_(network.numbers),
      threads_(threads > 0 ? threads : std::max(1, static_cast<int>(std::thread::hardware_concurrency()))),
      widest_(3) {
  for (const auto &layer : network.layers) {
    layers_.push_back(repacked(layer));
    if (&layer != &network.layers.back() && &layer != &network.layers[network.layers.size() - 2])
      widest_ = std::max(widest_, layer.out);
  }
}

PlainForward::Convolution PlainForward::repacked(const Layer &layer) {
  Convolution result{layer.in, layer.out, std::vector<float>(layer.weight.size()), layer.bias};
  const auto in = static_cast<std::size_t>(layer.in), out = static_cast<std::size_t>(layer.out);
  for (std::size_t o = 0; o < out; ++o)
    for (std::size_t i = 0; i < in; ++i)
      for (std::size_t tap = 0; tap < 9; ++tap)
        result.weight[(tap * in + i) * out + o] = layer.weight[(o * in + i) * 9 + tap];
  return result;
}

// Three maps in turn (a block's input, middle and output), then the fine picture in the memory of the two that are free
// by then.  One image at a time: memory does not grow with n.
std::size_t PlainForward::workspace_bytes(std::int64_t, std::int64_t h, std::int64_t w) const {
  const auto pixels = static_cast<std::size_t>(h) * static_cast<std::size_t>(w);
  const auto map = pixels * static_cast<std::size_t>(widest_);
  const auto fine = pixels * static_cast<std::size_t>(3 * numbers_.up * numbers_.up);
  return (map + std::max(2 * map, fine)) * sizeof(float);
}

void PlainForward::run(const Frames &in, const Frames &out, std::int64_t n, std::int64_t h, std::int64_t w,
                       const Rows &rows, float *workspace) const {
  const auto map_size = h * w * widest_, fine_size = h * w * 3 * numbers_.up * numbers_.up;
  float *const middle_place = workspace, *const one = workspace + map_size;
  float *const other = workspace + std::max(2 * map_size, fine_size);
  for (std::int64_t image = 0; image < n; ++image) {
    const Map colours{middle_place, h, w, 3};
    load(in, image, colours);
    // Input and output of the blocks take turns; the last output must lie where the fine picture does not reach.
    Map x{numbers_.blocks % 2 ? one : other, h, w, layers_.front().out};
    convolve(layers_.front(), colours, x, numbers_.input_relu != 0, nullptr);
    for (std::size_t block = 0; block < static_cast<std::size_t>(numbers_.blocks); ++block) {
      const auto &first = layers_[1 + 2 * block], &second = layers_[2 + 2 * block];
      const Map middle{middle_place, h, w, first.out};
      const Map y{x.values == one ? other : one, h, w, second.out};
      convolve(first, x, middle, true, nullptr);
      convolve(second, middle, y, true, &x);
      x = y;
    }
    const Map fine{workspace, h * numbers_.up, w * numbers_.up, 3};
    expand(x, fine);
    store(fine, out, rows, image);
  }
}

void PlainForward::load(const Frames &in, std::int64_t image, const Map &map) const {
  for_each_row(map.h, threads_, [&](std::int64_t y) {
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

// sums[o] = bias[o] + the convolution around (y, x), zero outside the map.
void PlainForward::sum(const Convolution &convolution, const Map &in, std::int64_t y, std::int64_t x,
                       float *SR_RESTRICT sums) {
  std::copy(convolution.bias.begin(), convolution.bias.end(), sums);
  for (int tap = 0; tap < 9; ++tap) {
    const auto yy = y + tap / 3 - 1, xx = x + tap % 3 - 1;
    if (yy < 0 || yy >= in.h || xx < 0 || xx >= in.w)
      continue;
    const int inputs = in.channels, outputs = convolution.out;
    const float *SR_RESTRICT pixel = in.values + (yy * in.w + xx) * inputs;
    const float *SR_RESTRICT weight = convolution.weight.data() + static_cast<std::ptrdiff_t>(tap) * inputs * outputs;
    for (int i = 0; i < inputs; ++i, weight += outputs) {
      const float value = pixel[i];
      for (int o = 0; o < outputs; ++o)
        sums[o] += value * weight[o];
    }
  }
}

// out = conv(in) + bias, then the ReLU, then the residual, whose missing channels are zero.
void PlainForward::convolve(const Convolution &convolution, const Map &in, const Map &out, bool relu,
                            const Map *residual) const {
  for_each_row(out.h, threads_, [&](std::int64_t y) {
    float sums[kWidest];
    for (std::int64_t x = 0; x < out.w; ++x) {
      sum(convolution, in, y, x, sums);
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

// The convolution to 3 up^2 channels, stored as pixels of the fine picture.
void PlainForward::expand(const Map &in, const Map &fine) const {
  const auto &convolution = layers_[layers_.size() - 2];
  const int up = numbers_.up;
  for_each_row(in.h, threads_, [&](std::int64_t y) {
    float sums[kWidest];
    for (std::int64_t x = 0; x < in.w; ++x) {
      sum(convolution, in, y, x, sums);
      for (int o = 0; o < convolution.out; ++o) {
        const int colour = o / (up * up), row = o / up % up, column = o % up;
        fine.values[((y * up + row) * fine.w + x * up + column) * 3 + colour] = sums[o];
      }
    }
  });
}

// The strided convolution 3 to 3, clamped and rounded where the output is uint8.
void PlainForward::store(const Map &fine, const Frames &out, const Rows &rows, std::int64_t image) const {
  const auto &convolution = layers_.back();
  const auto columns = (fine.w + numbers_.down - 1) / numbers_.down;
  for_each_row(rows.end - rows.begin, threads_, [&](std::int64_t row) {
    for (std::int64_t x = 0; x < columns; ++x) {
      float sums[3];
      sum(convolution, fine, (rows.begin + row) * numbers_.down, x * numbers_.down, sums);
      for (int c = 0; c < 3; ++c) {
        const auto at = image * out.strides[0] + c * out.strides[1] + row * out.strides[2] + x * out.strides[3];
        if (out.is_u8)
          static_cast<std::uint8_t *>(out.data)[at] =
              static_cast<std::uint8_t>(std::nearbyint(std::min(1.0f, std::max(0.0f, sums[c])) * 255.0f));
        else
          static_cast<float *>(out.data)[at] = sums[c];
      }
    }
  });
}

} // namespace superres
