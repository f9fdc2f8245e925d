#include "superres/build_info.h"

#define SR_TEXT_OF(x) #x
#define SR_TEXT(x) SR_TEXT_OF(x)

#if defined(__clang__)
#define SR_COMPILER "clang " __clang_version__
#elif defined(__GNUC__)
#define SR_COMPILER "gcc " __VERSION__
#elif defined(_MSC_VER)
#define SR_COMPILER "msvc " SR_TEXT(_MSC_FULL_VER)
#else
#define SR_COMPILER "unknown"
#endif

/* MSVC keeps __cplusplus at 199711 for the sake of old code and tells the truth in _MSVC_LANG. */
#if defined(_MSVC_LANG)
#define SR_CPLUSPLUS _MSVC_LANG
#else
#define SR_CPLUSPLUS __cplusplus
#endif
#if SR_CPLUSPLUS >= 202302L
#define SR_CXX_STANDARD "23"
#elif SR_CPLUSPLUS >= 202002L
#define SR_CXX_STANDARD "20"
#else
#define SR_CXX_STANDARD "17"
#endif
#if defined(SUPERRES_WITH_CUDA)
#define SR_CUDA "yes"
#define SR_CUDA_ARCHITECTURES SUPERRES_CUDA_ARCHITECTURES
#else
#define SR_CUDA "no"
#define SR_CUDA_ARCHITECTURES "none"
#endif
static_assert(SR_CPLUSPLUS >= 201703L, "libsuperres is written in C++17");

namespace {

constexpr char kInfo[] = "version=" SUPERRES_VERSION "\n"
                         "compiler=" SR_COMPILER "\n"
                         "cxx_standard=" SR_CXX_STANDARD "\n"
                         "build_type=" SUPERRES_BUILD_TYPE "\n"
                         "cuda=" SR_CUDA "\n"
                         "cuda_architectures=" SR_CUDA_ARCHITECTURES "\n";

} // namespace

extern "C" const char *sr_build_info(void) { return kInfo; }
