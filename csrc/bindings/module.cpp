// superres.native._core: libsuperres as a Python module.  No logic here: arguments in, arguments out, the GIL released.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "superres/superres.h"
#include "winograd.h"

namespace py = pybind11;

namespace {

using FloatArray = py::array_t<float, py::array::c_style | py::array::forcecast>;
using Strides = std::array<std::int64_t, 4>;

py::dict facts_of(const char *text) {
  py::dict facts;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto split = line.find('=');
    facts[py::str(line.substr(0, split))] = py::str(line.substr(split + 1));
  }
  return facts;
}

// A status other than SR_OK as Python's NativeFailure(status, text).
struct Failed {
  sr_status status;
  std::string text;
};

void require(sr_status status, const sr_message &message) {
  if (status != SR_OK)
    throw Failed{status, message.text[0] != '\0' ? message.text : sr_status_string(status)};
}

// A captured forward.  Python keeps its model and its buffers alive.
class Graph {
public:
  explicit Graph(sr_graph *made) : graph_(made) {}

  void launch(std::uintptr_t stream) const {
    sr_message message{};
    sr_status status;
    {
      const py::gil_scoped_release released;
      status = sr_graph_launch(graph_.get(), reinterpret_cast<void *>(stream), &message);
    }
    require(status, message);
  }

private:
  struct Destroy {
    void operator()(sr_graph *graph) const { sr_graph_destroy(graph); }
  };
  std::unique_ptr<sr_graph, Destroy> graph_;
};

class Model {
public:
  Model(const std::array<std::int32_t, 7> &numbers, const std::vector<std::pair<std::string, FloatArray>> &tensors,
        int device, int threads, int variant) {
    const sr_network network{numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6]};
    std::vector<sr_tensor> given;
    for (const auto &[name, values] : tensors) {
      sr_tensor tensor{};
      tensor.name = name.c_str();
      tensor.values = values.data();
      tensor.rank = static_cast<std::int32_t>(values.ndim());
      for (py::ssize_t axis = 0; axis < values.ndim() && axis < 4; ++axis)
        tensor.shape[axis] = values.shape(axis);
      given.push_back(tensor);
    }
    sr_model *made = nullptr;
    sr_message message{};
    sr_status status;
    {
      const py::gil_scoped_release released;
      status = sr_model_create_variant(&network, given.data(), given.size(), device, threads,
                                       static_cast<sr_variant>(variant), &made, &message);
    }
    require(status, message);
    model_.reset(made);
  }

  Model(const Model &) = delete;
  Model &operator=(const Model &) = delete;
  // Freeing a GPU's memory waits for its work, and other threads of Python need not.
  ~Model() {
    const py::gil_scoped_release released;
    model_.reset();
  }

  py::dict describe() const { return facts_of(sr_model_describe(model_.get())); }

  std::size_t workspace_size(std::int64_t n, std::int64_t h, std::int64_t w) const {
    return sr_workspace_size(model_.get(), n, h, w);
  }

  std::int64_t band_rows(std::int64_t n, std::int64_t h, std::int64_t w, std::size_t workspace_bytes) const {
    return sr_band_rows(model_.get(), n, h, w, workspace_bytes);
  }

  // read_first, read_rows, out_first, out_rows, skip_rows
  std::array<std::int64_t, 5> band(std::int64_t h, std::int64_t first, std::int64_t rows) const {
    sr_band band{};
    sr_message message{};
    require(sr_band_of(model_.get(), h, first, rows, &band, &message), message);
    return {band.read_first, band.read_rows, band.out_first, band.out_rows, band.skip_rows};
  }

  // band: as `band` gives it; the addresses are those of its first rows.
  void forward_band(bool is_u8, std::uintptr_t in, const Strides &in_strides, std::uintptr_t out,
                    const Strides &out_strides, const std::array<std::int64_t, 2> &count_and_width,
                    const std::array<std::int64_t, 5> &rows, std::uintptr_t workspace, std::size_t workspace_bytes,
                    std::uintptr_t stream) const {
    const sr_band band{rows[0], rows[1], rows[2], rows[3], rows[4]};
    sr_message message{};
    sr_status status;
    {
      const py::gil_scoped_release released;
      if (is_u8)
        status = sr_forward_band_u8(model_.get(), reinterpret_cast<const std::uint8_t *>(in), in_strides.data(),
                                    reinterpret_cast<std::uint8_t *>(out), out_strides.data(), count_and_width[0],
                                    count_and_width[1], &band, reinterpret_cast<void *>(workspace), workspace_bytes,
                                    reinterpret_cast<void *>(stream), &message);
      else
        status = sr_forward_band_f32(model_.get(), reinterpret_cast<const float *>(in), in_strides.data(),
                                     reinterpret_cast<float *>(out), out_strides.data(), count_and_width[0],
                                     count_and_width[1], &band, reinterpret_cast<void *>(workspace), workspace_bytes,
                                     reinterpret_cast<void *>(stream), &message);
    }
    require(status, message);
  }

  // size: n, h, w.
  std::unique_ptr<Graph> capture(bool is_u8, std::uintptr_t in, const Strides &in_strides, std::uintptr_t out,
                                 const Strides &out_strides, const std::array<std::int64_t, 3> &size,
                                 std::uintptr_t workspace, std::size_t workspace_bytes) const {
    sr_graph *made = nullptr;
    sr_message message{};
    sr_status status;
    {
      const py::gil_scoped_release released;
      if (is_u8)
        status = sr_graph_create_u8(model_.get(), reinterpret_cast<const std::uint8_t *>(in), in_strides.data(),
                                    reinterpret_cast<std::uint8_t *>(out), out_strides.data(), size[0], size[1],
                                    size[2], reinterpret_cast<void *>(workspace), workspace_bytes, &made, &message);
      else
        status = sr_graph_create_f32(model_.get(), reinterpret_cast<const float *>(in), in_strides.data(),
                                     reinterpret_cast<float *>(out), out_strides.data(), size[0], size[1], size[2],
                                     reinterpret_cast<void *>(workspace), workspace_bytes, &made, &message);
    }
    require(status, message);
    return std::make_unique<Graph>(made);
  }

private:
  struct Destroy {
    void operator()(sr_model *model) const { sr_model_destroy(model); }
  };
  std::unique_ptr<sr_model, Destroy> model_;
};

} // namespace

PYBIND11_MODULE(_core, module) {
  module.doc() = "Binding of libsuperres; use it through superres.native.";
  static PyObject *failure =
      PyErr_NewExceptionWithDoc("superres.native._core.NativeFailure", "args: (sr_status, text)", nullptr, nullptr);
  module.attr("NativeFailure") = py::handle(failure);
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown)
        std::rethrow_exception(thrown);
    } catch (const Failed &failed) {
      PyErr_SetObject(failure, py::make_tuple(static_cast<int>(failed.status), failed.text).ptr());
    }
  });
  module.def("build_info", [] { return facts_of(sr_build_info()); },
             "How libsuperres was built: version, compiler, cxx_standard, build_type, cuda, cuda_architectures.");
  module.def("device_count", &sr_device_count, "CUDA devices that this build can use now.");
  bind_winograd(module);
  py::class_<Model>(module, "Model", "sr_model; see superres/superres.h for every argument.")
      .def(py::init<const std::array<std::int32_t, 7> &, const std::vector<std::pair<std::string, FloatArray>> &, int,
                    int, int>(),
           py::arg("numbers"), py::arg("tensors"), py::arg("device"), py::arg("threads"), py::arg("variant"))
      .def("describe", &Model::describe)
      .def("workspace_size", &Model::workspace_size)
      .def("band_rows", &Model::band_rows)
      .def("band", &Model::band)
      .def("forward_band", &Model::forward_band, py::arg("is_u8"), py::arg("input"), py::arg("in_strides"),
           py::arg("output"), py::arg("out_strides"), py::arg("count_and_width"), py::arg("band"), py::arg("workspace"),
           py::arg("workspace_bytes"), py::arg("stream"))
      .def("capture", &Model::capture, py::keep_alive<0, 1>(), py::arg("is_u8"), py::arg("input"),
           py::arg("in_strides"), py::arg("output"), py::arg("out_strides"), py::arg("size"), py::arg("workspace"),
           py::arg("workspace_bytes"));
  py::class_<Graph>(module, "Graph", "sr_graph.").def("launch", &Graph::launch, py::arg("stream"));
}
