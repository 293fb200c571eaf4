/* What ends a network: ReLU, dropout and a fully connected layer of few units, forward and backward;
 * and the cross-entropy of its logits with its gradient. There is little to compute: it is done here
 * to be called three times a step instead of twenty.
 *
 * The compiler gets REAL and INTEGER (of the same width), FEATURES (a multiple of 16) and UNITS.
 */
#include <math.h>
#include <omp.h>

#include "vectors.h"

/* x (images, FEATURES): rectified and dropped out in place; what is kept is multiplied by scale. At
 * most one of kept and drawn is given: a bit for each number, the lowest of a byte first, 0 drops it;
 * or a random number, below `least` drops it. weight (UNITS, FEATURES), bias (UNITS), logits (images,
 * UNITS) */
void forward(REAL *x, const uint8_t *kept, const int64_t *drawn, const REAL *weight,
             const REAL *bias, REAL *logits, double scale, int64_t least, int images, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int image = 0; image < images; image++) {
        const int64_t at = (int64_t)image * FEATURES;
        for (int f = 0; f < FEATURES; f += LANES) {
            const vector value = GIVEN(x + at + f);
            /* as it is said, so that a NaN stays one */
            mask zero = (mask)(value <= 0);
            if (kept)
                zero |= dropped(kept, at + f);
            if (drawn)
                for (int i = 0; i < LANES; i++)
                    zero[i] |= drawn[at + f + i] < least ? -1 : 0;
            AT(x + at + f) = choose(zero, (vector){0}, value * (REAL)scale);
        }
        for (int unit = 0; unit < UNITS; unit++) {
            vector sum = {0};
            for (int f = 0; f < FEATURES; f += LANES)
                sum += GIVEN(x + at + f) * GIVEN(weight + unit * FEATURES + f);
            logits[image * UNITS + unit] = bias[unit] + total(sum);
        }
    }
}

/* hidden: what forward made of x; gradient (images, UNITS) of the logits; to_x: of what forward was
 * given; to_weight, to_bias: in the shapes of weight and bias */
void backward(const REAL *hidden, const REAL *weight, const REAL *gradient, REAL *to_x,
              REAL *to_weight, REAL *to_bias, double scale, int images, int threads)
{
#pragma omp parallel num_threads(threads)
    {
#pragma omp for schedule(static) nowait
        for (int image = 0; image < images; image++)
            for (int f = 0; f < FEATURES; f += LANES) {
                const int64_t at = (int64_t)image * FEATURES + f;
                vector sum = {0};
                for (int unit = 0; unit < UNITS; unit++)
                    sum += gradient[image * UNITS + unit] * GIVEN(weight + unit * FEATURES + f);
                const mask zero = (mask)(GIVEN(hidden + at) == 0);
                AT(to_x + at) = choose(zero, (vector){0}, sum * (REAL)scale);
            }
#pragma omp for schedule(static)
        for (int unit = 0; unit < UNITS; unit++) {
            REAL *row = to_weight + unit * FEATURES;
            REAL sum = 0;
            for (int f = 0; f < FEATURES; f += LANES)
                AT(row + f) = (vector){0};
            for (int image = 0; image < images; image++) {
                const REAL value = gradient[image * UNITS + unit];
                for (int f = 0; f < FEATURES; f += LANES)
                    AT(row + f) += value * GIVEN(hidden + (int64_t)image * FEATURES + f);
                sum += value;
            }
            to_bias[unit] = sum;
        }
    }
}

/* logits (images, UNITS), labels (images); gradient (images, UNITS): of the mean loss; loss: the
 * mean; right: how many of the largest logits are the label's */
void cross_entropy(const REAL *logits, const int64_t *labels, REAL *gradient, REAL *loss,
                   int64_t *right, int images, int threads)
{
    double sum = 0;
    *right = 0;
    for (int image = 0; image < images; image++) {
        const REAL *row = logits + image * UNITS;
        const int label = (int)labels[image];
        int largest = 0;
        for (int unit = 1; unit < UNITS; unit++)
            largest = row[unit] > row[largest] ? unit : largest;
        REAL power[UNITS], powers = 0;
        for (int unit = 0; unit < UNITS; unit++) {
            power[unit] = sizeof(REAL) == 4 ? expf(row[unit] - row[largest])
                                            : exp(row[unit] - row[largest]);
            powers += power[unit];
        }
        for (int unit = 0; unit < UNITS; unit++)
            gradient[image * UNITS + unit] = (power[unit] / powers - (unit == label)) / images;
        sum += log(powers) - (row[label] - row[largest]);
        *right += largest == label;
    }
    *loss = (REAL)(sum / images);
    (void)threads;
}
