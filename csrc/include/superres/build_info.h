/* How this copy of libsuperres was built.  C ABI: usable from C99 and C++. */
#ifndef SUPERRES_BUILD_INFO_H
#define SUPERRES_BUILD_INFO_H

#ifdef __cplusplus
extern "C" {
#endif

/* Facts about the build, one `key=value` a line, every line ended by '\n', keys in a fixed order:
 *   version        the release, as "0.1.0"
 *   compiler       name and version of the C++ compiler
 *   cxx_standard   the C++ standard it was compiled as: "17", "20" or "23"
 *   build_type     CMake's configuration, as "Release"
 *   cuda           "yes" where device code is inside, else "no"
 *   cuda_architectures   those of the device code, as CMake names them ("80-real 80-virtual"), or "none"
 *
 * Returns NUL-terminated UTF-8 with static lifetime: never NULL, never freed.  Safe from any thread. */
const char *sr_build_info(void);

#ifdef __cplusplus
}
#endif

#endif /* SUPERRES_BUILD_INFO_H */
