// Binds superres/winograd.h into a Python module.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

void bind_winograd(pybind11::module_ &module);
