// Winograd convolutions on memory of other libraries, by address.  superres.training.convolution checks what they hold.
#include "winograd.h"

#include <array>
#include <cstdint>
#include <new>
#include <stdexcept>

#include "superres/winograd.h"

namespace py = pybind11;

namespace {

using Sizes = std::array<ptrdiff_t, 5>;
using Strides = std::array<ptrdiff_t, 4>;

const float *read(std::uintptr_t address) { return reinterpret_cast<const float *>(address); }
float *write(std::uintptr_t address) { return reinterpret_cast<float *>(address); }
sr_convolution sizes_of(const Sizes &s) { return {s[0], s[1], s[2], s[3], s[4]}; }

void check(int status) {
  if (status == 1)
    throw std::runtime_error("this processor has no AVX2 and FMA; ask winograd_supported() first");
  if (status == 2)
    throw std::bad_alloc();
}

void forward(const Sizes &sizes, std::uintptr_t x, std::uintptr_t w, const Strides &strides, std::uintptr_t bias,
             std::uintptr_t y, int threads) {
  const sr_convolution c = sizes_of(sizes);
  check(sr_winograd_forward(&c, read(x), read(w), strides.data(), read(bias), write(y), threads));
}

void input_gradient(const Sizes &sizes, std::uintptr_t gy, std::uintptr_t w, const Strides &strides, std::uintptr_t gx,
                    int threads) {
  const sr_convolution c = sizes_of(sizes);
  check(sr_winograd_input_gradient(&c, read(gy), read(w), strides.data(), write(gx), threads));
}

void weight_gradient(const Sizes &sizes, std::uintptr_t x, std::uintptr_t gy, std::uintptr_t gw, const Strides &strides,
                     int threads) {
  const sr_convolution c = sizes_of(sizes);
  check(sr_winograd_weight_gradient(&c, read(x), read(gy), write(gw), strides.data(), threads));
}

} // namespace

void bind_winograd(py::module_ &module) {
  using unlocked = py::call_guard<py::gil_scoped_release>;
  module.def("winograd_supported", [] { return sr_winograd_supported() == 1; },
             "Whether this build and this processor have the convolutions of superres/winograd.h.");
  module.def("winograd_team", &sr_winograd_team, "Whose threads they would take now: \"OpenMP\" or \"own\".");
  module.def("winograd_forward", &forward, unlocked(), py::arg("sizes"), py::arg("x"), py::arg("w"),
             py::arg("strides"), py::arg("bias"), py::arg("y"), py::arg("threads"),
             "sizes: (n, h, w, inputs, outputs); strides: of the weights; the others are addresses of float32, bias may "
             "be 0.");
  module.def("winograd_input_gradient", &input_gradient, unlocked(), py::arg("sizes"), py::arg("gy"), py::arg("w"),
             py::arg("strides"), py::arg("gx"), py::arg("threads"));
  module.def("winograd_weight_gradient", &weight_gradient, unlocked(), py::arg("sizes"), py::arg("x"), py::arg("gy"),
             py::arg("gw"), py::arg("strides"), py::arg("threads"));
}
