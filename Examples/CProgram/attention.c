// Causal attention over a sequence that is sharded among ranks, and its gradients, from C:
//
//     cc -I Sources/CGyre/include Examples/CProgram/attention.c -L FOLDER -lgyre -lm -o attention
//     mpirun -n 3 ./attention
//
// Every value is v = 1, so that every output is 1 and the gradients of the values say how much each key
// was looked at: their sum is the number of queries.

#include "gyre.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOKENS = 1000, HEADS = 2, HEAD_DIM = 16 };

// Says what went wrong, once for all ranks, and leaves with them.
static int fail(void) {
  if (gyre_rank() <= 0 || !gyre_error_is_shared()) fprintf(stderr, "%s\n", gyre_error());
  gyre_finalize(1);
  return 1;
}

int main(void) {
  if (gyre_init(0)) return fail();

  // The positions of this rank's rows.
  int64_t rows;
  if (gyre_positions(TOKENS, "zigzag", 0, gyre_rank(), NULL, &rows)) return fail();
  int64_t *positions = malloc((rows + 1) * sizeof *positions);
  if (gyre_positions(TOKENS, "zigzag", 0, gyre_rank(), positions, &rows)) return fail();

  int64_t count = rows * HEADS * HEAD_DIM;
  float *q = malloc((count + 1) * sizeof *q), *ones = malloc((count + 1) * sizeof *ones);
  for (int64_t i = 0; i < count; i++) {
    q[i] = sinf(0.01f * positions[i / (HEADS * HEAD_DIM)] + i % HEAD_DIM);
    ones[i] = 1;
  }

  gyre_attention attention = {
      .interface = GYRE_INTERFACE, .causal = 1, .batch = 1, .tokens = rows, .key_tokens = rows,
      .query_heads = HEADS, .kv_heads = HEADS, .head_dim = HEAD_DIM, .value_head_dim = HEAD_DIM,
  };
  gyre_tensor o, lse, rest, dq, dk, dv;
  if (gyre_attend(&attention, NULL, q, q, ones, &o, &lse, &rest)) return fail();
  if (gyre_attend_backward(
          &attention, NULL, q, q, ones, o.data, lse.data, rest.data, ones, &dq, &dk, &dv, NULL,
          NULL))
    return fail();

  double sums[2] = {0, 0};
  for (int64_t i = 0; i < count; i++) {
    sums[0] += fabs(o.data[i] - 1);
    sums[1] += dv.data[i] / (HEADS * HEAD_DIM);
  }
  if (gyre_sum_f64(sums, 2)) return fail();
  sums[0] /= TOKENS * HEADS * HEAD_DIM;
  if (gyre_rank() == 0)
    printf("outputs %s, queries %.1f\n", sums[0] < 1e-6 ? "1.0" : "wrong", sums[1]);

  gyre_tensor *made[] = {&o, &lse, &rest, &dq, &dk, &dv};
  for (int i = 0; i < 6; i++) gyre_tensor_free(made[i]);
  free(positions), free(q), free(ones);
  return gyre_finalize(0) ? fail() : 0;
}
