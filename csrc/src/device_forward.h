// The network as launches of the kernels: one for each convolution, or one for each residual block and one for the tail.
#pragma once

#include <memory>

#include "backend.h"
#include "fold.h"
#include "pack.h"

namespace superres {

class DeviceForward {
public:
  // Where a kernel of the variant cannot run (too many channels, too little shared memory, another scale), that part of the
  // network takes the kernels of SR_VARIANT_LAYERS.
  DeviceForward(const Network &network, std::unique_ptr<Backend> backend, sr_variant variant);

  // 0 where the size is more than the kernels can count.
  std::size_t workspace_bytes(std::int64_t n, std::int64_t h, std::int64_t w) const;

  // Queue everything on the stream.  workspace: aligned to 256, of workspace_bytes(n, h, w).
  void run(const Frames &in, const Frames &out, std::int64_t n, std::int64_t h, std::int64_t w, const Rows &rows,
           void *workspace, void *stream) const;

  // A run, or several, as one launch.
  std::unique_ptr<Captured> capture(const std::function<void(void *stream)> &queue) const {
    return backend_->capture(queue);
  }

  std::string device_name() const { return backend_->name(); }
  // "tensor cores (mma.m16n8k16); one launch a block: 1 2, the first with the input convolution; tail folded": which kernel
  // takes which part.
  std::string kernel_text() const;
  int launches() const;

private:
  struct Convolution {
    Packing packing;
    std::shared_ptr<const void> weights, bias;
    float scale; // of the sums
  };
  struct Block {
    std::optional<BlockChoice> fused;
    Convolution first, second;
  };
  struct Map {
    std::uint16_t *values;
    int groups;
  };
  // Bytes of the maps: a block's middle (0 where all are fused), and input and output of the blocks in turn.
  struct Sizes {
    std::size_t middle, one, other, fine, total;
  };

  Convolution uploaded(const Layer &layer, const Packing &packing, bool takes_frames, float gain = 1.0f) const;
  void fold_tail(const Network &network);
  bool input_is_fused() const { return blocks_.front().fused && blocks_.front().fused->shape.from_frames; }
  Sizes sizes(std::int64_t n, std::int64_t h, std::int64_t w) const;
  kernels::ConvolutionArguments arguments_for(const Convolution &convolution, const Map &in, const Map &out,
                                              std::int64_t n, std::int64_t h, std::int64_t w) const;
  void run_block(std::size_t number, const Frames &in, const Map &x, const Map &middle, const Map &y, std::int64_t n,
                 std::int64_t h, std::int64_t w, void *stream) const;
  void run_folded_tail(const Map &x, std::int64_t n, std::int64_t h, std::int64_t w, const kernels::OutputPlace &out,
                       void *stream) const;
  void run_plain_tail(const Map &x, std::uint16_t *fine, std::int64_t n, std::int64_t h, std::int64_t w,
                      const kernels::OutputPlace &out, void *stream) const;

  std::unique_ptr<Backend> backend_;
  sr_network numbers_;
  std::vector<int> groups_; // of the blocks' inputs and outputs
  Convolution input_;
  std::vector<Block> blocks_;
  bool is_folded_ = false;
  Convolution expand_; // of the plain tail; of the folded one its convolution
  std::shared_ptr<const void> border_weights_, border_bias_;
  float output_weight_[81], output_bias_[3];
};

} // namespace superres
