#include "device_forward.h"

#include <algorithm>
#include <limits>

namespace superres {
namespace {

constexpr std::int64_t kMostBlocks = std::numeric_limits<std::int32_t>::max();
constexpr std::int64_t kLongestSide = 1 << 24;

std::int64_t counted(std::int64_t blocks) {
  if (blocks > kMostBlocks)
    throw Failure{SR_INVALID_ARGUMENT, "more pixels than one launch can take; cut the image into bands"};
  return blocks;
}

std::size_t rounded(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

} // namespace

std::int64_t convolution_blocks(const kernels::ConvolutionArguments &args) {
  const std::int64_t across = (args.w + kernels::kTileColumns - 1) / kernels::kTileColumns;
  const std::int64_t down = (args.h + kernels::kTileRows - 1) / kernels::kTileRows;
  return counted(args.n * across * down * args.out_blocks);
}

std::int64_t output_blocks(const kernels::OutputArguments &args) {
  return counted(args.n * args.out_h * ((args.out_w + kernels::kThreads - 1) / kernels::kThreads));
}

DeviceForward::DeviceForward(const Network &network, std::unique_ptr<Backend> backend)
    : backend_(std::move(backend)), numbers_(network.numbers) {
  for (std::size_t i = 0; i + 1 < network.layers.size(); ++i) {
    const auto &layer = network.layers[i];
    const bool takes_frames = i == 0;
    const Packing packing = packing_of(layer.in, layer.out);
    const auto weights = packed_weights(layer, packing, takes_frames);
    const auto bias = packed_bias(layer, packing);
    layers_.push_back({packing, backend_->upload(weights.data(), weights.size() * sizeof weights[0]),
                       backend_->upload(bias.data(), bias.size() * sizeof bias[0])});
    if (i + 2 < network.layers.size())
      widest_groups_ = std::max(widest_groups_, packing.out_groups);
  }
  std::copy(network.output().weight.begin(), network.output().weight.end(), output_weight_);
  std::copy(network.output().bias.begin(), network.output().bias.end(), output_bias_);
}

// Three maps (a block's middle, and input and output in turn); the fine picture takes the place of the first two.
std::size_t DeviceForward::workspace_bytes(std::int64_t n, std::int64_t h, std::int64_t w) const {
  if (h > kLongestSide || w > kLongestSide || n > kLongestSide || h * w > kMostBlocks || n * h * w > kMostBlocks * 64)
    return 0;
  const auto pixels = static_cast<std::size_t>(n * h * w);
  const auto map = rounded(pixels * static_cast<std::size_t>(widest_groups_) * 16);
  const auto fine = rounded(pixels * static_cast<std::size_t>(3 * numbers_.up * numbers_.up) * 2);
  return map + std::max(2 * map, fine);
}

kernels::ConvolutionArguments DeviceForward::arguments_for(const Convolution &convolution, const Map &in, const Map &out,
                                                           std::int64_t n, std::int64_t h, std::int64_t w) const {
  kernels::ConvolutionArguments args{};
  args.in = in.values;
  args.n = n;
  args.h = static_cast<int>(h);
  args.w = static_cast<int>(w);
  args.in_groups = convolution.packing.in_groups;
  args.chunk_groups = convolution.packing.chunk_groups;
  args.chunks = convolution.packing.chunks;
  args.weights = static_cast<const std::uint32_t *>(convolution.weights.get());
  args.bias = static_cast<const float *>(convolution.bias.get());
  args.scale = 1.0f;
  args.out_blocks = convolution.packing.out_blocks;
  args.out = out.values;
  args.out_groups = out.groups;
  return args;
}

void DeviceForward::run(const Frames &in, const Frames &out, std::int64_t n, std::int64_t h, std::int64_t w,
                        void *workspace, void *stream) const {
  const auto bytes = workspace_bytes(n, h, w);
  const auto map_bytes = rounded(static_cast<std::size_t>(n * h * w) * static_cast<std::size_t>(widest_groups_) * 16);
  auto *const start = static_cast<unsigned char *>(workspace);
  const auto place = [&](std::size_t at) { return reinterpret_cast<std::uint16_t *>(start + at); };
  std::uint16_t *const middle_place = place(0), *const one = place(map_bytes), *const other = place(bytes - map_bytes);

  // Input and output of the blocks take turns; the last output must lie where the fine picture does not reach.
  Map x{numbers_.blocks % 2 ? one : other, layers_.front().packing.out_groups};
  auto args = arguments_for(layers_.front(), Map{nullptr, 0}, x, n, h, w);
  args.frames = in;
  args.scale = in.is_u8 ? 1.0f / 255.0f : 1.0f;
  args.relu = numbers_.input_relu != 0;
  backend_->convolve(args, layers_.front().packing.tiles, stream);

  for (std::size_t block = 0; block < static_cast<std::size_t>(numbers_.blocks); ++block) {
    const auto &first = layers_[1 + 2 * block], &second = layers_[2 + 2 * block];
    const Map middle{middle_place, first.packing.out_groups};
    const Map y{x.values == one ? other : one, second.packing.out_groups};
    args = arguments_for(first, x, middle, n, h, w);
    args.relu = true;
    backend_->convolve(args, first.packing.tiles, stream);
    args = arguments_for(second, middle, y, n, h, w);
    args.relu = true;
    args.residual = x.values;
    args.residual_groups = x.groups;
    backend_->convolve(args, second.packing.tiles, stream);
    x = y;
  }

  const auto &expand = layers_.back();
  args = arguments_for(expand, x, Map{place(0), expand.packing.out_groups}, n, h, w);
  args.up = numbers_.up;
  backend_->convolve(args, expand.packing.tiles, stream);

  kernels::OutputArguments last{};
  last.fine = place(0);
  last.n = n;
  last.fine_h = static_cast<int>(h * numbers_.up);
  last.fine_w = static_cast<int>(w * numbers_.up);
  last.out_h = static_cast<int>(scaled(h, numbers_));
  last.out_w = static_cast<int>(scaled(w, numbers_));
  last.down = numbers_.down;
  std::copy(std::begin(output_weight_), std::end(output_weight_), last.weight);
  std::copy(std::begin(output_bias_), std::end(output_bias_), last.bias);
  last.frames = out;
  backend_->output(last, stream);
}

} // namespace superres
