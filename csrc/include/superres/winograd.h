/* 3×3 convolutions for training on a CPU, by Winograd's F(4×4, 3×3): a quarter of the multiplications.
 * Lavin and Gray, CVPR 2016, doi:10.1109/CVPR.2016.435.  C ABI.
 *
 * Images are float32, (n, h, w, channels) without gaps (channels last); stride 1, zero padding 1, so that the output has
 * the input's height and width.  Weights are float32 at  w[o*s[0] + i*s[1] + ky*s[2] + kx*s[3]].
 * Nothing is aliased, nothing but the output is written.  At most `threads` >= 1 threads are used, this one among them; the
 * same number gives the same bits.  In a process with an OpenMP runtime they are that runtime's.  Results differ from a
 * direct convolution by rounding, about 1e-6 of the largest value.
 * Safe from any thread.  Each function returns 0, or 1 where this processor has no AVX2 and FMA (or the build none for
 * it) and nothing was computed, or 2 where memory ran out. */
#ifndef SUPERRES_WINOGRAD_H
#define SUPERRES_WINOGRAD_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Sizes of a convolution from `inputs` to `outputs` channels. */
typedef struct {
  ptrdiff_t n, h, w, inputs, outputs;
} sr_convolution;

/* 1 where the functions below compute, else 0. */
int sr_winograd_supported(void);

/* Whose threads they would take now: "OpenMP" (of this process, as torch brings them) or "own". */
const char *sr_winograd_team(void);

/* y (n, h, w, outputs) = convolution of x (n, h, w, inputs), plus bias (outputs) unless it is NULL. */
int sr_winograd_forward(const sr_convolution *c, const float *x, const float *w, const ptrdiff_t s[4],
                        const float *bias, float *y, int threads);

/* The gradient with respect to x, given that with respect to y. */
int sr_winograd_input_gradient(const sr_convolution *c, const float *gy, const float *w, const ptrdiff_t s[4],
                               float *gx, int threads);

/* The gradient with respect to the weights, written to gw at the places that s gives. */
int sr_winograd_weight_gradient(const sr_convolution *c, const float *x, const float *gy, float *gw,
                                const ptrdiff_t s[4], int threads);

#ifdef __cplusplus
}
#endif

#endif /* SUPERRES_WINOGRAD_H */
