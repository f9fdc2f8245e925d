// A build for use, without the emulation that tests need.
#include "backend.h"

namespace superres {

std::unique_ptr<Backend> emulated_backend() {
  throw Failure{SR_NOT_SUPPORTED, "this libsuperres was built without SUPERRES_EMULATION"};
}

} // namespace superres
