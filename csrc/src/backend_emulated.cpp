// The kernels on the host, for tests: see csrc/kernels/shim_host.h.  SUPERRES_EMULATION_REVERSED=1 runs the warps of a
// block, and the blocks of a launch, from last to first; SUPERRES_EMULATION_SHARED=BYTES says what shared memory a block of
// threads may have (default: 99 KB, as on the cards with the least).
#include <ucontext.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <functional>
#include <memory>
#include <new>

#include "backend.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace superres {
namespace {

using kernels::Block;
using kernels::kWarps;

// The warps of one block as fibers: each runs to its next barrier, then the next one's turn comes.
class Warps final : public kernels::Barrier {
public:
  // body(warp) is what a warp does.  All warps must meet at the same barriers.
  void run(bool reversed, const std::function<void(int)> &body) {
    body_ = &body;
    for (int warp = 0; warp < kWarps; ++warp)
      start(fibers_[static_cast<std::size_t>(warp)]);
    for (int finished = 0; finished == 0;) {
      for (int turn = 0; turn < kWarps; ++turn) {
        present_ = reversed ? kWarps - 1 - turn : turn;
        enter(fibers_[static_cast<std::size_t>(present_)]);
        finished += fibers_[static_cast<std::size_t>(present_)].finished;
      }
      if (finished != 0 && finished != kWarps) {
        std::fprintf(stderr, "%d of %d warps ended while the others wait at a barrier\n", finished, kWarps);
        std::abort();
      }
    }
  }

  void wait() override { leave(fibers_[static_cast<std::size_t>(present_)]); }

private:
  static constexpr std::size_t kStackBytes = std::size_t{1} << 18;
  struct Fiber {
    std::unique_ptr<unsigned char[]> stack{new unsigned char[kStackBytes]};
    ucontext_t context{};
    void *shadow = nullptr; // of the address sanitizer
    bool finished = false;
  };

  void start(Fiber &fiber) {
    fiber.finished = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = kStackBytes;
    fiber.context.uc_link = nullptr;
    // makecontext hands over ints only: the object's address in two halves.
    const auto self = reinterpret_cast<std::uintptr_t>(this);
    makecontext(&fiber.context, reinterpret_cast<void (*)()>(&Warps::begin), 2, static_cast<unsigned>(self >> 32),
                static_cast<unsigned>(self));
  }

  static void begin(unsigned high, unsigned low) {
    auto &self = *reinterpret_cast<Warps *>(std::uintptr_t{high} << 32 | low);
    self.arrived(nullptr);
    (*self.body_)(self.present_);
    auto &fiber = self.fibers_[static_cast<std::size_t>(self.present_)];
    fiber.finished = true;
    self.leave(fiber);
  }

  void enter(Fiber &fiber) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&shadow_, fiber.stack.get(), kStackBytes);
#endif
    swapcontext(&caller_, &fiber.context);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(shadow_, nullptr, nullptr);
#endif
  }

  void leave(Fiber &fiber) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(fiber.finished ? nullptr : &fiber.shadow, stack_, stack_bytes_);
#endif
    swapcontext(&fiber.context, &caller_);
    arrived(fiber.shadow);
  }

  void arrived([[maybe_unused]] void *shadow) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(shadow, &stack_, &stack_bytes_);
#endif
  }

  std::array<Fiber, kWarps> fibers_;
  ucontext_t caller_{};
  const std::function<void(int)> *body_ = nullptr;
  int present_ = 0;
  void *shadow_ = nullptr;
  const void *stack_ = nullptr; // the caller's
  std::size_t stack_bytes_ = 0;
};

// A stream of the emulation: what is queued on it, with its arguments by value, as a card takes them.
using Queue = std::vector<std::function<void()>>;

class EmulatedGraph final : public Captured {
public:
  explicit EmulatedGraph(const std::function<void(void *stream)> &queue) { queue(&work_); }

  void launch(void *stream) const override {
    for (const auto &each : work_)
      if (stream != nullptr)
        static_cast<Queue *>(stream)->push_back(each);
      else
        each();
  }

private:
  Queue work_;
};

// stream: a Queue, or NULL for work that is done at once.
class EmulatedBackend final : public Backend {
public:
  EmulatedBackend() : reversed_(std::getenv("SUPERRES_EMULATION_REVERSED") != nullptr) {
    if (const char *bytes = std::getenv("SUPERRES_EMULATION_SHARED"))
      shared_limit_ = std::atoi(bytes);
  }

  std::string name() const override { return "emulated on the host"; }

  std::shared_ptr<const void> upload(const void *bytes, std::size_t count) const override {
    void *memory = ::operator new(count, std::align_val_t{256});
    std::memcpy(memory, bytes, count);
    return {memory, [](const void *held) { ::operator delete(const_cast<void *>(held), std::align_val_t{256}); }};
  }

  void convolve(const kernels::ConvolutionArguments &arguments, int tiles, void *stream) const override {
    switch (tiles) {
    case 1:
      return launch<1>(arguments, stream);
    case 2:
      return launch<2>(arguments, stream);
    case 4:
      return launch<4>(arguments, stream);
    case 5:
      return launch<5>(arguments, stream);
    case 6:
      return launch<6>(arguments, stream);
    case 7:
      return launch<7>(arguments, stream);
    case 8:
      return launch<8>(arguments, stream);
    case 10:
      return launch<10>(arguments, stream);
    default:
      throw Failure{SR_INVALID_ARGUMENT, "no kernel for " + std::to_string(tiles) + " tiles"};
    }
  }

  void output(const kernels::OutputArguments &arguments, void *stream) const override {
    each_block(stream, output_blocks(arguments), 0,
               [arguments](Block &block) { kernels::convolve_output(block, arguments); });
  }

  void residual_block(const kernels::BlockArguments &arguments, const BlockChoice &choice, void *stream) const override {
    const auto &shape = choice.shape;
#define SR_TRY(frames, middle, out)                                                                                    \
  if (shape.from_frames == frames && shape.middle_tiles == middle && shape.out_tiles == out)                           \
    return each_block(stream, residual_blocks(arguments), choice.shared_bytes,                                         \
                      [arguments](Block &block) { kernels::compute_block<frames, middle, out>(block, arguments); });
    SR_BLOCK_KERNELS(SR_TRY)
#undef SR_TRY
    throw Failure{SR_INVALID_ARGUMENT, "no kernel for a residual block of this shape"};
  }

  void folded(const kernels::FoldedArguments &arguments, int tiles, void *stream) const override {
    const int bytes = kernels::folded_shared_bytes(tiles, arguments.chunk_groups);
#define SR_TRY(compiled)                                                                                               \
  if (tiles == compiled)                                                                                               \
    return each_block(stream, folded_blocks(arguments), bytes,                                                         \
                      [arguments](Block &block) { kernels::convolve_folded<compiled>(block, arguments); });
    SR_FOLDED_KERNELS(SR_TRY)
#undef SR_TRY
    throw Failure{SR_INVALID_ARGUMENT, "no folded tail of this size"};
  }

  void border(const kernels::BorderArguments &arguments, void *stream) const override {
    each_block(stream, border_blocks(arguments), 0,
               [arguments](Block &block) { kernels::compute_border(block, arguments); });
  }

  std::unique_ptr<Captured> capture(const std::function<void(void *stream)> &queue) const override {
    return std::make_unique<EmulatedGraph>(queue);
  }

  int shared_limit() const override { return shared_limit_; }

private:
  template <int tiles> void launch(const kernels::ConvolutionArguments &arguments, void *stream) const {
    each_block(stream, convolution_blocks(arguments), kernels::shared_bytes(tiles, arguments.chunk_groups),
               [arguments](Block &block) { kernels::convolve<tiles>(block, arguments); });
  }

  template <class Kernel>
  void each_block(void *stream, std::int64_t blocks, int shared_bytes, const Kernel &kernel) const {
    if (stream != nullptr) {
      static_cast<Queue *>(stream)->push_back([=] { each_block(nullptr, blocks, shared_bytes, kernel); });
      return;
    }
    Warps warps;
    std::vector<std::uint64_t> shared(static_cast<std::size_t>(shared_bytes) / sizeof(std::uint64_t));
    for (std::int64_t i = 0; i < blocks; ++i) {
      std::fill(shared.begin(), shared.end(), ~std::uint64_t{0});
      warps.run(reversed_, [&](int warp) {
        Block block(reversed_ ? blocks - 1 - i : i, reinterpret_cast<unsigned char *>(shared.data()), warp, warps);
        kernel(block);
      });
    }
  }

  static constexpr int kLeastShared = 99 * 1024;

  bool reversed_;
  int shared_limit_ = kLeastShared;
};

} // namespace

std::unique_ptr<Backend> emulated_backend() { return std::make_unique<EmulatedBackend>(); }

} // namespace superres
