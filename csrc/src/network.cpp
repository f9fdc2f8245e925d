#include "network.h"

#include <cmath>
#include <cstring>
#include <numeric>

#include "half.h"

namespace superres {
namespace {

constexpr int kMaxChannels = 256;

void require(bool holds, const char *name, int value, const char *expected) {
  if (!holds)
    throw Failure{SR_INVALID_ARGUMENT, std::string(name) + " is " + std::to_string(value) + "; expected " + expected};
}

void check_numbers(const sr_network &numbers) {
  require(numbers.base_channels >= 1 && numbers.base_channels <= kMaxChannels, "base_channels", numbers.base_channels,
          "1 to 256");
  require(numbers.blocks >= 1 && numbers.blocks <= 32, "blocks", numbers.blocks, "1 to 32");
  require(numbers.alpha >= 0 && numbers.alpha <= kMaxChannels, "alpha", numbers.alpha, "0 to 256");
  require(numbers.up >= 1 && numbers.up <= 8, "up", numbers.up, "1 to 8");
  require(numbers.down >= 1 && numbers.down <= 4, "down", numbers.down, "1 to 4");
  require(numbers.up >= numbers.down, "up", numbers.up, "at least down");
  require(numbers.grow_first == 0 || numbers.grow_first == 1, "grow_first", numbers.grow_first, "0 or 1");
  require(numbers.input_relu == 0 || numbers.input_relu == 1, "input_relu", numbers.input_relu, "0 or 1");
}

std::string shape_text(const std::vector<std::int64_t> &shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + ")";
}

class Tensors {
public:
  Tensors(const sr_tensor *tensors, std::size_t count) : tensors_(tensors), count_(count), used_(count, false) {}

  std::vector<float> take(const std::string &name, const std::vector<std::int64_t> &shape) {
    for (std::size_t i = 0; i < count_; ++i) {
      if (tensors_[i].name == nullptr || name != tensors_[i].name)
        continue;
      used_[i] = true;
      return checked(tensors_[i], name, shape);
    }
    throw Failure{SR_INVALID_WEIGHTS, "tensor '" + name + "' of shape " + shape_text(shape) + " is missing"};
  }

  void require_all_used() const {
    for (std::size_t i = 0; i < count_; ++i)
      if (!used_[i])
        throw Failure{SR_INVALID_WEIGHTS, "tensor '" + std::string(tensors_[i].name ? tensors_[i].name : "") +
                                              "' is unknown or given twice"};
  }

private:
  static std::vector<float> checked(const sr_tensor &tensor, const std::string &name,
                                    const std::vector<std::int64_t> &shape) {
    const bool ranked = tensor.rank >= 0 && tensor.rank <= 4;
    const std::vector<std::int64_t> seen(tensor.shape, tensor.shape + (ranked ? tensor.rank : 0));
    if (!ranked || seen != shape || tensor.values == nullptr)
      throw Failure{SR_INVALID_WEIGHTS,
                    "tensor '" + name + "' has shape " + shape_text(seen) + "; expected " + shape_text(shape)};
    std::size_t size = 1;
    for (const auto extent : shape)
      size *= static_cast<std::size_t>(extent);
    std::vector<float> values(size);
    std::memcpy(values.data(), tensor.values, size * sizeof(float)); // memcpy: the source need not be aligned
    for (const float value : values) {
      if (!std::isfinite(value))
        throw Failure{SR_INVALID_WEIGHTS, "tensor '" + name + "' holds NaN or infinite values"};
      if (std::fabs(value) > kLargestHalf)
        throw Failure{SR_INVALID_WEIGHTS, "tensor '" + name + "' holds " + std::to_string(value) +
                                              ", beyond the range of float16 (65504)"};
    }
    return values;
  }

  const sr_tensor *tensors_;
  std::size_t count_;
  std::vector<bool> used_;
};

} // namespace

int Network::origin_multiple() const { return numbers.down / std::gcd(numbers.up, numbers.down); }

Network make_network(const sr_network &numbers, const sr_tensor *tensors, std::size_t count) {
  check_numbers(numbers);
  Network network;
  network.numbers = numbers;
  network.channels = {numbers.base_channels};
  for (int k = 1; k <= numbers.blocks; ++k)
    network.channels.push_back(network.channels.back() +
                               (2 * numbers.alpha * k + numbers.blocks) / (2 * numbers.blocks));
  require(network.channels.back() <= kMaxChannels, "the last block's channel count", network.channels.back(),
          "at most 256");

  Tensors given(tensors, count);
  const auto add = [&](const std::string &name, int in, int out) {
    Layer layer{name, in, out, {}, {}};
    layer.weight = given.take(name + ".weight", {out, in, 3, 3});
    layer.bias = given.take(name + ".bias", {out});
    network.layers.push_back(std::move(layer));
  };
  add("input", 3, numbers.base_channels);
  for (int k = 0; k < numbers.blocks; ++k) {
    const auto in = network.channels[static_cast<std::size_t>(k)], out = network.channels[static_cast<std::size_t>(k) + 1];
    const auto middle = numbers.grow_first ? out : in;
    add("blocks." + std::to_string(k) + ".first", in, middle);
    add("blocks." + std::to_string(k) + ".second", middle, out);
  }
  add("expand", network.channels.back(), 3 * numbers.up * numbers.up);
  add("output", 3, 3);
  given.require_all_used();
  return network;
}

} // namespace superres
