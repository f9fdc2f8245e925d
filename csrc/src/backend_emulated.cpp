// The kernels on the host, for tests: see csrc/kernels/shim_host.h.  SUPERRES_EMULATION_REVERSED=1 runs the warps of a
// block, and the blocks of a launch, from last to first.
#include <cstdlib>
#include <new>

#include "backend.h"
#include "pack.h"

namespace superres {
namespace {

using kernels::Block;

class EmulatedBackend final : public Backend {
public:
  EmulatedBackend() : reversed_(std::getenv("SUPERRES_EMULATION_REVERSED") != nullptr) {}

  std::string name() const override { return "emulated on the host"; }

  std::shared_ptr<const void> upload(const void *bytes, std::size_t count) const override {
    void *memory = ::operator new(count, std::align_val_t{256});
    std::memcpy(memory, bytes, count);
    return {memory, [](const void *held) { ::operator delete(const_cast<void *>(held), std::align_val_t{256}); }};
  }

  void convolve(const kernels::ConvolutionArguments &arguments, int tiles, void *) const override {
    switch (tiles) {
    case 1:
      return launch<1>(arguments);
    case 2:
      return launch<2>(arguments);
    case 4:
      return launch<4>(arguments);
    case 5:
      return launch<5>(arguments);
    case 6:
      return launch<6>(arguments);
    case 7:
      return launch<7>(arguments);
    case 8:
      return launch<8>(arguments);
    case 10:
      return launch<10>(arguments);
    default:
      throw Failure{SR_INVALID_ARGUMENT, "no kernel for " + std::to_string(tiles) + " tiles"};
    }
  }

  void output(const kernels::OutputArguments &arguments, void *) const override {
    each_block(output_blocks(arguments), 0, [&](Block &block) { kernels::convolve_output(block, arguments); });
  }

private:
  template <int tiles> void launch(const kernels::ConvolutionArguments &arguments) const {
    each_block(convolution_blocks(arguments), kernels::shared_bytes(tiles, arguments.chunk_groups),
               [&](Block &block) { kernels::convolve<tiles>(block, arguments); });
  }

  template <class Kernel> void each_block(std::int64_t blocks, int shared_bytes, const Kernel &kernel) const {
    std::vector<std::uint64_t> shared(static_cast<std::size_t>(shared_bytes) / sizeof(std::uint64_t));
    for (std::int64_t i = 0; i < blocks; ++i) {
      Block block(reversed_ ? blocks - 1 - i : i, shared, reversed_);
      kernel(block);
    }
  }

  bool reversed_;
};

} // namespace

std::unique_ptr<Backend> emulated_backend() { return std::make_unique<EmulatedBackend>(); }

} // namespace superres
