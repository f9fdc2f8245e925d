// The C ABI of winograd.h: looks at the processor, arranges the arguments, lets no exception out.
#include "superres/winograd.h"

#include "team.h"

extern "C" const char *sr_winograd_team(void) { return superres::team_in_use(); }

#ifdef SUPERRES_WINOGRAD
#include "winograd_avx2.h"
#include <new>

namespace {

template <typename Work> int guarded(const Work &work) {
  if (!sr_winograd_supported())
    return 1;
  try {
    work();
    return 0;
  } catch (const std::bad_alloc &) {
    return 2;
  }
}

} // namespace

extern "C" int sr_winograd_supported(void) {
  static const bool supported = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  return supported ? 1 : 0;
}

extern "C" int sr_winograd_forward(const sr_convolution *c, const float *x, const float *w, const ptrdiff_t s[4],
                                   const float *bias, float *y, int threads) {
  return guarded([&] { superres::convolve(*c, x, w, s, bias, y, threads); });
}

extern "C" int sr_winograd_input_gradient(const sr_convolution *c, const float *gy, const float *w,
                                          const ptrdiff_t s[4], float *gx, int threads) {
  // The convolution of the gradient with the kernels turned by 180 degrees, from outputs to inputs.
  const sr_convolution back = {c->n, c->h, c->w, c->outputs, c->inputs};
  const ptrdiff_t turned[4] = {s[1], s[0], -s[2], -s[3]};
  return guarded([&] { superres::convolve(back, gy, w + 2 * s[2] + 2 * s[3], turned, nullptr, gx, threads); });
}

extern "C" int sr_winograd_weight_gradient(const sr_convolution *c, const float *x, const float *gy, float *gw,
                                           const ptrdiff_t s[4], int threads) {
  return guarded([&] { superres::weight_gradient(*c, x, gy, gw, s, threads); });
}

#else

extern "C" int sr_winograd_supported(void) { return 0; }

extern "C" int sr_winograd_forward(const sr_convolution *, const float *, const float *, const ptrdiff_t *,
                                   const float *, float *, int) {
  return 1;
}

extern "C" int sr_winograd_input_gradient(const sr_convolution *, const float *, const float *, const ptrdiff_t *,
                                          float *, int) {
  return 1;
}

extern "C" int sr_winograd_weight_gradient(const sr_convolution *, const float *, const float *, float *,
                                           const ptrdiff_t *, int) {
  return 1;
}

#endif
