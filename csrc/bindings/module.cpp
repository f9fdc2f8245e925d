// superres.native._core: libsuperres as a Python module.  No logic here: arguments in, arguments out.
#include <pybind11/pybind11.h>

#include <sstream>
#include <string>

#include "superres/build_info.h"

namespace py = pybind11;

namespace {

py::dict build_info() {
  py::dict facts;
  std::istringstream lines(sr_build_info());
  for (std::string line; std::getline(lines, line);) {
    const auto split = line.find('=');
    facts[py::str(line.substr(0, split))] = py::str(line.substr(split + 1));
  }
  return facts;
}

} // namespace

PYBIND11_MODULE(_core, module) {
  module.doc() = "Binding of libsuperres; use it through superres.native.";
  module.def("build_info", &build_info,
             "How libsuperres was built: version, compiler, cxx_standard, build_type, cuda.");
}
