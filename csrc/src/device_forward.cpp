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

std::int64_t tiles_of(std::int64_t n, int h, int w, int rows, int columns) {
  return n * ((w + columns - 1) / columns) * ((h + rows - 1) / rows);
}

std::size_t rounded(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

int groups_of(int channels) { return (channels + 7) / 8; }

template <class Value> const Value *at(const std::shared_ptr<const void> &memory) {
  return static_cast<const Value *>(memory.get());
}

} // namespace

std::int64_t convolution_blocks(const kernels::ConvolutionArguments &args) {
  return counted(tiles_of(args.n, args.h, args.w, kernels::Tile::kRows, kernels::Tile::kColumns) * args.out_blocks);
}

std::int64_t output_blocks(const kernels::OutputArguments &args) {
  return counted(args.n * (args.out.end - args.out.begin) * kernels::row_pieces(args.out.w));
}

std::int64_t residual_blocks(const kernels::BlockArguments &args) {
  return counted(tiles_of(args.n, args.h, args.w, kernels::Tile::kRows, kernels::Tile::kColumns));
}

std::int64_t folded_blocks(const kernels::FoldedArguments &args) {
  return counted(tiles_of(args.n, args.h, args.w, 2 * kernels::kFoldedRows, 2 * kernels::kFoldedColumns) *
                 args.out_blocks);
}

std::int64_t border_blocks(const kernels::BorderArguments &args) {
  return counted((args.n * 3 * kernels::border_rows(args).pixels + kernels::kThreads - 1) / kernels::kThreads);
}

DeviceForward::DeviceForward(const Network &network, std::unique_ptr<Backend> backend, sr_variant variant)
    : backend_(std::move(backend)), numbers_(network.numbers) {
  const bool fuses = variant != SR_VARIANT_LAYERS;
  for (const int channels : network.channels)
    groups_.push_back(groups_of(channels));
  for (int k = 0; k < numbers_.blocks; ++k) {
    const auto &first = network.first(k), &second = network.second(k);
    const auto fits = [&](bool from_frames) {
      return fuses ? block_choice(from_frames, groups_of(first.in), groups_of(first.out), groups_of(second.out),
                                  backend_->shared_limit())
                   : std::nullopt;
    };
    Block block{k == 0 ? fits(true) : std::nullopt, {}, {}};
    if (!block.fused)
      block.fused = fits(false);
    const auto packing = [&](const Layer &layer, int tiles) {
      return block.fused ? block_packing(layer.in, layer.out, tiles) : packing_of(layer.in, layer.out);
    };
    const int middle_tiles = block.fused ? block.fused->shape.middle_tiles : 0;
    block.first = uploaded(first, packing(first, middle_tiles), false);
    block.second = uploaded(second, packing(second, block.fused ? block.fused->shape.out_tiles : 0), false);
    blocks_.push_back(std::move(block));
  }
  const auto &input = network.input();
  input_ = uploaded(input,
                    input_is_fused() ? block_packing(input.in, input.out, blocks_.front().fused->shape.middle_tiles)
                                     : packing_of(input.in, input.out),
                    true);
  const auto fold = fold_of(numbers_);
  is_folded_ = (variant == SR_VARIANT_FOLDED || variant == SR_VARIANT_DEFAULT) && fold.stride == 2 &&
               fold.side == kernels::kFoldedSide && is_worth_folding(network);
  if (is_folded_)
    fold_tail(network);
  else
    expand_ = uploaded(network.expand(), packing_of(network.expand().in, network.expand().out), false);
  std::copy(network.output().weight.begin(), network.output().weight.end(), output_weight_);
  std::copy(network.output().bias.begin(), network.output().bias.end(), output_bias_);
}

DeviceForward::Convolution DeviceForward::uploaded(const Layer &layer, const Packing &packing, bool takes_frames,
                                                   float gain) const {
  const auto weights = packed_weights(layer, packing, takes_frames, gain);
  const auto bias = packed_bias(layer, packing);
  return {packing, backend_->upload(weights.data(), weights.size() * sizeof weights[0]),
          backend_->upload(bias.data(), bias.size() * sizeof bias[0]), 1.0f / gain};
}

void DeviceForward::fold_tail(const Network &network) {
  const Layer layer = folded_layer(network);
  expand_ = uploaded(layer, folded_packing(layer.in, layer.out), false, gain_for(layer.weight));
  const BorderMaps maps = border_maps(network);
  border_weights_ = backend_->upload(maps.weight.data(), maps.weight.size() * sizeof maps.weight[0]);
  border_bias_ = backend_->upload(maps.bias.data(), maps.bias.size() * sizeof maps.bias[0]);
}

std::string DeviceForward::kernel_text() const {
  std::string fused, apart;
  for (std::size_t k = 0; k < blocks_.size(); ++k) {
    auto &list = blocks_[k].fused ? fused : apart;
    list += (list.empty() ? "" : " ") + std::to_string(k + 1);
  }
  std::string text = "tensor cores (mma.m16n8k16); ";
  if (!fused.empty())
    text += "one launch a block: " + fused + (input_is_fused() ? ", the first with the input convolution; " : "; ");
  if (!apart.empty())
    text += "one launch a layer: " + apart + "; ";
  return text + (is_folded_ ? "tail folded" : "tail in two launches");
}

int DeviceForward::launches() const {
  int count = (input_is_fused() ? 0 : 1) + 2;
  for (const auto &block : blocks_)
    count += block.fused ? 1 : 2;
  return count;
}

// A block's middle, then input and output of the blocks in turn; a fine picture takes the place of the first two.
DeviceForward::Sizes DeviceForward::sizes(std::int64_t n, std::int64_t h, std::int64_t w) const {
  const auto pixels = static_cast<std::size_t>(n * h * w);
  int middle = 0, turns[2] = {0, 0};
  const std::size_t last = groups_.size() - 1;
  for (std::size_t k = input_is_fused() ? 1 : 0; k <= last; ++k)
    turns[(last - k) % 2] = std::max(turns[(last - k) % 2], groups_[k]);
  for (const auto &block : blocks_)
    if (!block.fused)
      middle = std::max(middle, block.first.packing.out_groups);
  const auto bytes = [&](int groups) { return rounded(pixels * static_cast<std::size_t>(groups) * 16); };
  Sizes result{bytes(middle), bytes(turns[1]), bytes(turns[0]), 0, 0};
  if (!is_folded_)
    result.fine = rounded(pixels * static_cast<std::size_t>(3 * numbers_.up * numbers_.up) * 2);
  result.total = result.other + std::max(result.middle + result.one, result.fine);
  return result;
}

std::size_t DeviceForward::workspace_bytes(std::int64_t n, std::int64_t h, std::int64_t w) const {
  if (h > kLongestSide || w > kLongestSide || n > kLongestSide || h * w > kMostBlocks || n * h * w > kMostBlocks * 64)
    return 0;
  return sizes(n, h, w).total;
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
  args.weights = at<std::uint32_t>(convolution.weights);
  args.bias = at<float>(convolution.bias);
  args.scale = 1.0f;
  args.out_blocks = convolution.packing.out_blocks;
  args.out = out.values;
  args.out_groups = out.groups;
  return args;
}

void DeviceForward::run(const Frames &in, const Frames &out, std::int64_t n, std::int64_t h, std::int64_t w,
                        const Rows &rows, void *workspace, void *stream) const {
  const auto size = sizes(n, h, w);
  auto *const start = static_cast<unsigned char *>(workspace);
  const auto place = [&](std::size_t byte) { return reinterpret_cast<std::uint16_t *>(start + byte); };
  // The last output must lie where a fine picture does not reach.
  std::uint16_t *const turns[2] = {place(size.total - size.other), place(size.middle)};
  const auto map = [&](std::size_t k) { return Map{turns[(groups_.size() - 1 - k) % 2], groups_[k]}; };

  Map x{nullptr, groups_[0]};
  if (!input_is_fused()) {
    x = map(0);
    auto args = arguments_for(input_, Map{nullptr, 0}, x, n, h, w);
    args.frames = in;
    args.scale = in.is_u8 ? 1.0f / 255.0f : 1.0f;
    args.relu = numbers_.input_relu != 0;
    backend_->convolve(args, input_.packing.tiles, stream);
  }
  for (std::size_t k = 0; k < blocks_.size(); ++k) {
    const Map middle{place(0), blocks_[k].first.packing.out_groups}, y = map(k + 1);
    run_block(k, in, x, middle, y, n, h, w, stream);
    x = y;
  }
  const kernels::OutputPlace target{out, static_cast<int>(scaled(h, numbers_)), static_cast<int>(scaled(w, numbers_)),
                                    static_cast<int>(rows.begin), static_cast<int>(rows.end)};
  if (is_folded_)
    run_folded_tail(x, n, h, w, target, stream);
  else
    run_plain_tail(x, place(0), n, h, w, target, stream);
}

void DeviceForward::run_block(std::size_t number, const Frames &in, const Map &x, const Map &middle, const Map &y,
                              std::int64_t n, std::int64_t h, std::int64_t w, void *stream) const {
  const auto &block = blocks_[number];
  if (!block.fused) {
    auto args = arguments_for(block.first, x, middle, n, h, w);
    args.relu = true;
    backend_->convolve(args, block.first.packing.tiles, stream);
    args = arguments_for(block.second, middle, y, n, h, w);
    args.relu = true;
    args.residual = x.values;
    args.residual_groups = x.groups;
    backend_->convolve(args, block.second.packing.tiles, stream);
    return;
  }
  kernels::BlockArguments args{};
  args.in = x.values;
  args.frames = in;
  args.input_weights = at<std::uint32_t>(input_.weights);
  args.input_bias = at<float>(input_.bias);
  args.input_scale = in.is_u8 ? 1.0f / 255.0f : 1.0f;
  args.input_relu = numbers_.input_relu != 0;
  args.n = n;
  args.h = static_cast<int>(h);
  args.w = static_cast<int>(w);
  args.in_groups = x.groups;
  args.middle_groups = middle.groups;
  args.out_groups = y.groups;
  args.first_weights = at<std::uint32_t>(block.first.weights);
  args.first_bias = at<float>(block.first.bias);
  args.second_weights = at<std::uint32_t>(block.second.weights);
  args.second_bias = at<float>(block.second.bias);
  args.out = y.values;
  backend_->residual_block(args, *block.fused, stream);
}

void DeviceForward::run_folded_tail(const Map &x, std::int64_t n, std::int64_t h, std::int64_t w,
                                    const kernels::OutputPlace &out, void *stream) const {
  const auto fold = fold_of(numbers_);
  kernels::FoldedArguments args{};
  args.in = x.values;
  args.n = n;
  args.h = static_cast<int>(h);
  args.w = static_cast<int>(w);
  args.in_groups = x.groups;
  args.chunk_groups = expand_.packing.chunk_groups;
  args.chunks = expand_.packing.chunks;
  args.weights = at<std::uint32_t>(expand_.weights);
  args.bias = at<float>(expand_.bias);
  args.scale = expand_.scale;
  args.out_blocks = expand_.packing.out_blocks;
  args.shuffle = fold.shuffle;
  args.out = out;
  args.last_row = last_is_special(h, numbers_);
  args.last_column = last_is_special(w, numbers_);
  backend_->folded(args, expand_.packing.tiles / 2, stream);

  kernels::BorderArguments border{};
  border.in = x.values;
  border.n = n;
  border.h = args.h;
  border.w = args.w;
  border.in_groups = x.groups;
  border.weights = at<float>(border_weights_);
  border.bias = at<float>(border_bias_);
  border.shuffle = fold.shuffle;
  border.stride = fold.stride;
  border.before = fold.before;
  border.side = fold.side;
  border.out = out;
  border.last_row = args.last_row;
  border.last_column = args.last_column;
  backend_->border(border, stream);
}

void DeviceForward::run_plain_tail(const Map &x, std::uint16_t *fine, std::int64_t n, std::int64_t h, std::int64_t w,
                                   const kernels::OutputPlace &out, void *stream) const {
  auto args = arguments_for(expand_, x, Map{fine, expand_.packing.out_groups}, n, h, w);
  args.up = numbers_.up;
  backend_->convolve(args, expand_.packing.tiles, stream);

  kernels::OutputArguments last{};
  last.fine = fine;
  last.n = n;
  last.fine_h = static_cast<int>(h * numbers_.up);
  last.fine_w = static_cast<int>(w * numbers_.up);
  last.down = numbers_.down;
  std::copy(std::begin(output_weight_), std::end(output_weight_), last.weight);
  std::copy(std::begin(output_bias_), std::end(output_bias_), last.bias);
  last.out = out;
  backend_->output(last, stream);
}

} // namespace superres
