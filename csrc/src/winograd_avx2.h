// What winograd.cpp calls after it has looked at the processor.  Sizes and pointers as in superres/winograd.h.
#ifndef SUPERRES_WINOGRAD_AVX2_H
#define SUPERRES_WINOGRAD_AVX2_H

#include "superres/winograd.h"

namespace superres {

using Sizes = sr_convolution;

void convolve(const Sizes &c, const float *x, const float *w, const ptrdiff_t s[4], const float *bias, float *y,
              int threads);
void weight_gradient(const Sizes &c, const float *x, const float *gy, float *gw, const ptrdiff_t s[4], int threads);

} // namespace superres

#endif
