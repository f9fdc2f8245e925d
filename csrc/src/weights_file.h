// A weights file of superres: safetensors, with the plug-in's name and options as JSON in its metadata.
#pragma once

#include "network.h"

namespace superres {

// Read and check the file.  Throws Failure: SR_FILE_ERROR for a missing, truncated or foreign file, SR_INVALID_WEIGHTS or
// SR_INVALID_ARGUMENT for a network that cannot be.
Network read_network(const std::string &path);

} // namespace superres
