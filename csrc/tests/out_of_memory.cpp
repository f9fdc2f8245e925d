// Memory that runs out: every allocation of a model and of a forward fails in turn, and each time the call gives
// SR_OUT_OF_MEMORY (or does without).  An exception that left the library, or a thread left behind, would end the process.
//
//     superres_out_of_memory       says how many allocations failed
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "superres/superres.h"

namespace {

std::atomic<long> left{-1}; // allocations before all fail; negative: none does
std::atomic<bool> refused{false};

void *allocated(std::size_t size) {
  if (left.load() >= 0 && left.fetch_sub(1) <= 0) {
    left.store(0);
    refused.store(true);
    throw std::bad_alloc();
  }
  if (void *memory = std::malloc(size != 0 ? size : 1))
    return memory;
  throw std::bad_alloc();
}

struct Tensor {
  std::string name;
  std::vector<float> values;
  std::vector<std::int64_t> shape;
};

std::vector<Tensor> tensors_of(const sr_network &network) {
  std::vector<Tensor> made;
  const auto add = [&](const std::string &name, std::int64_t in, std::int64_t out) {
    made.push_back({name + ".weight", std::vector<float>(static_cast<std::size_t>(9 * in * out), 0.1f), {out, in, 3, 3}});
    made.push_back({name + ".bias", std::vector<float>(static_cast<std::size_t>(out), 0.0f), {out}});
  };
  add("input", 3, network.base_channels);
  add("blocks.0.first", network.base_channels, network.base_channels);
  add("blocks.0.second", network.base_channels, network.base_channels + network.alpha);
  add("expand", network.base_channels + network.alpha, 3 * network.up * network.up);
  add("output", 3, 3);
  return made;
}

[[noreturn]] void fail(const char *what, long at, sr_status status) {
  std::fprintf(stderr, "%s, allocation %ld failed: status %d\n", what, at, static_cast<int>(status));
  std::exit(1);
}

// How many allocations can fail in a call.  degrades: it may also do without.
template <class Call> long failures_of(const char *what, bool degrades, const Call &call) {
  for (long at = 0;; ++at) {
    sr_message why;
    std::strcpy(why.text, "untouched");
    refused.store(false);
    left.store(at);
    const sr_status status = call(&why);
    left.store(-1);
    if (!refused.load() && status == SR_OK)
      return at;
    if (status == SR_OK && degrades)
      continue;
    if (status != SR_OUT_OF_MEMORY || std::strcmp(why.text, "not enough memory") != 0)
      fail(what, at, status);
  }
}

} // namespace

void *operator new(std::size_t size) { return allocated(size); }
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, std::size_t) noexcept { std::free(memory); }

int main() {
  const sr_network network{4, 1, 2, 0, 5, 2, 0};
  const auto tensors = tensors_of(network);
  std::vector<sr_tensor> given;
  for (const auto &tensor : tensors) {
    sr_tensor each{tensor.name.c_str(), tensor.values.data(), static_cast<std::int32_t>(tensor.shape.size()), {}};
    for (std::size_t axis = 0; axis < tensor.shape.size(); ++axis)
      each.shape[axis] = tensor.shape[axis];
    given.push_back(each);
  }
  sr_model *model = nullptr;
  const long made = failures_of("sr_model_create", false, [&](sr_message *why) {
    return sr_model_create(&network, given.data(), given.size(), SR_DEVICE_CPU, 4, &model, why);
  });

  constexpr std::int64_t kSide = 16, kOut = 40;
  std::vector<std::uint8_t> in(3 * kSide * kSide, 128), out(3 * kOut * kOut);
  const std::int64_t in_strides[4] = {3 * kSide * kSide, kSide * kSide, kSide, 1};
  const std::int64_t out_strides[4] = {3 * kOut * kOut, kOut * kOut, kOut, 1};
  const std::size_t bytes = sr_workspace_size(model, 1, kSide, kSide);
  void *workspace = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  const long forward = failures_of("sr_forward_u8", true, [&](sr_message *why) {
    return sr_forward_u8(model, in.data(), in_strides, out.data(), out_strides, 1, kSide, kSide, workspace, bytes, nullptr,
                         why);
  });
  sr_model_destroy(model);
  std::free(workspace);
  std::printf("%ld %ld\n", made, forward);
}
