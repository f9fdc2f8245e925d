// What winograd.cpp calls after it has looked at the processor.  Sizes and pointers as in superres/winograd.h.
#ifndef SUPERRES_WINOGRAD_AVX2_H
#define SUPERRES_WINOGRAD_AVX2_H

#include "superres/winograd.h"

namespace superres {

using Sizes = sr_convolution;

// What becomes of a convolution's sums before they are stored: plus bias, ReLU, plus the residual, whose channels
// (n, h, w, residual_channels) may be fewer than the outputs.  NULL for none.
struct Epilogue {
  const float *bias = nullptr;
  bool relu = false;
  const float *residual = nullptr;
  ptrdiff_t residual_channels = 0;
};

// Weights transformed once for many calls: that many floats, written by `transform_weights`.
ptrdiff_t transformed_size(ptrdiff_t inputs, ptrdiff_t outputs);
void transform_weights(ptrdiff_t inputs, ptrdiff_t outputs, const float *w, const ptrdiff_t s[4], float *u);

// Floats that one thread needs; `scratch` has them for each.
ptrdiff_t scratch_size(ptrdiff_t inputs, ptrdiff_t outputs);
// Allocates nothing.  A tile of 4×4 outputs, counted from the image's corner, rounds alike whatever surrounds its inputs.
void convolve_transformed(const Sizes &c, const float *x, const float *u, const Epilogue &after, float *y,
                          float *scratch, int threads);

void convolve(const Sizes &c, const float *x, const float *w, const ptrdiff_t s[4], const float *bias, float *y,
              int threads);
void weight_gradient(const Sizes &c, const float *x, const float *gy, float *gw, const ptrdiff_t s[4], int threads);

} // namespace superres

#endif
