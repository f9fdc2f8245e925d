// A build without CUDA.
#include "backend.h"

namespace superres {

int cuda_device_count() { return 0; }

std::unique_ptr<Backend> cuda_backend(int) {
  throw Failure{SR_NOT_SUPPORTED, "this libsuperres was built without CUDA; build it with SUPERRES_CUDA=ON"};
}

std::string cuda_architectures() { return ""; }

} // namespace superres
