// The network as launches of the kernels, one for each convolution.
#pragma once

#include <memory>

#include "backend.h"
#include "pack.h"

namespace superres {

class DeviceForward {
public:
  DeviceForward(const Network &network, std::unique_ptr<Backend> backend);

  // 0 where the size is more than the kernels can count.
  std::size_t workspace_bytes(std::int64_t n, std::int64_t h, std::int64_t w) const;

  // Queue everything on the stream.  workspace: aligned to 256, of workspace_bytes(n, h, w).
  void run(const Frames &in, const Frames &out, std::int64_t n, std::int64_t h, std::int64_t w, void *workspace,
           void *stream) const;

  std::string device_name() const { return backend_->name(); }

private:
  struct Convolution {
    Packing packing;
    std::shared_ptr<const void> weights, bias;
  };
  struct Map {
    std::uint16_t *values;
    int groups;
  };

  kernels::ConvolutionArguments arguments_for(const Convolution &convolution, const Map &in, const Map &out,
                                              std::int64_t n, std::int64_t h, std::int64_t w) const;

  std::unique_ptr<Backend> backend_;
  sr_network numbers_;
  int widest_groups_ = 1;
  std::vector<Convolution> layers_; // all but the output convolution
  float output_weight_[81], output_bias_[3];
};

} // namespace superres
