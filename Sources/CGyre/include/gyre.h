// Gyre for C, and for whatever calls C: exact attention and other operators over sequences
// that are sharded among MPI ranks.
//
// A program that links libgyre is started by Open MPI's mpirun, one process a rank, or alone as a single
// rank. Each rank holds the rows of some tokens (gyre_positions says which) of tensors
// [batch, tokens, heads, head_dim], row-major, of float.
//
// A function marked COLLECTIVE is called by all ranks, in the same order. What fails on one rank fails on
// all of them, with the same sentence: no rank waits for one that has given up.
//
// Functions that return int return 0, or 1 if they have failed; gyre_error() then is a sentence that says
// what is wrong and what to do. Calls may come from any thread, one at a time; others wait.

#ifndef GYRE_H
#define GYRE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// The version of this header; a library of another version refuses.
#define GYRE_INTERFACE 2

// What attention is computed, as one rank has it. A field that is 0 or NULL has its default, so that
// `gyre_attention a = {.interface = GYRE_INTERFACE, …}` needs to name only what is special.
//
// All ranks give the same, but for the numbers of tokens and the segments, which are of their own rows.
typedef struct gyre_attention {
  // GYRE_INTERFACE.
  int32_t interface;
  // 1: a query sees the keys up to its own position, aligned at the end where there are more keys.
  int32_t causal;
  // Independent sequences.
  int64_t batch;
  // Queries and keys of this rank. The sequence has those of all ranks together.
  int64_t tokens;
  int64_t key_tokens;
  // Query head h reads KV head h / (query_heads / kv_heads).
  int64_t query_heads;
  int64_t kv_heads;
  // Columns of q and k, and of v and o.
  int64_t head_dim;
  int64_t value_head_dim;
  // A query sees so many keys up to its own position, and without `causal` as many after it. Default: all.
  int64_t window;
  // They are so far apart, and cover as many times more. Default: 1, neighbours.
  int64_t window_dilation;
  // The first so many keys are seen whatever the window hides.
  int64_t sinks;
  // [batch, tokens] and [batch, key_tokens] of this rank: a query sees the keys of its own segment. The
  // second may be NULL where queries and keys are the same tokens. Default: one segment.
  const int32_t *segment_ids;
  const int32_t *key_segment_ids;
  // [query_heads]: slope times distance is taken from each score.
  const float *alibi_slopes;
  // [query_heads]: a logit more in the softmax of each row, which no value belongs to; the same on all ranks.
  const float *learned_sinks;
  // [bias_batch, bias_heads, tokens, bias_keys], finite: is added to the scores of this rank's queries. The first
  // two are 1 where all sequences, or all heads, share it; the keys are those of all ranks, by their positions.
  const float *bias;
  int64_t bias_batch;
  int64_t bias_heads;
  int64_t bias_keys;
  // X: scaled scores s become X tanh(s / X).
  double softcap;
  // Multiplies q·k. Default: 1/√head_dim.
  double scale;
  // Which rank holds which tokens: "zigzag" (default), "contiguous" or "striped".
  const char *layout;
  // What travels where: "auto" (default), "ring", "shared", "hierarchical", "allgather", "query", "heads", or
  // "mesh:2x3", where each 2 ranks share heads and blocks travel in rings of 3.
  const char *route;
  // What products are computed of: "f32" (default) or "bf16", which needs AVX-512 BF16.
  const char *arithmetic;
  // The type in which keys and values travel: "f32", "f16", "bf16" or "int8". Default: the arithmetic's.
  const char *wire;
  // 1: the same bits for every number of ranks and threads; shards are then cut at multiples of 768.
  int32_t reproducible;
  // Dilated attention (LongNet) instead: so many branches, with their segment lengths and dilation rates.
  // Of the fields above it takes causal, scale and layout alone.
  int32_t branches;
  const int64_t *segment_lengths;
  const int64_t *dilation_rates;
} gyre_attention;

// A tensor that the library has made: `count` numbers in memory that gyre_tensor_free gives back.
typedef struct gyre_tensor {
  float *data;
  int64_t count;
  void *owner;
} gyre_tensor;

// The most dimensions of a tensor with a name.
#define GYRE_MOST_DIMENSIONS 6

// A tensor of an operator, by name, row-major: one that it reads, or one that it has made. The sizes are of
// this rank's part; tensors without a dimension of tokens, such as weights, are whole on all ranks.
typedef struct gyre_named_tensor {
  const char *name;
  // Read alone where the operator reads the tensor.
  float *data;
  int64_t sizes[GYRE_MOST_DIMENSIONS];
  int32_t dimensions;
  // Of what the library has made; gyre_named_tensor_free gives it back.
  void *owner;
} gyre_named_tensor;

// What an operator is asked for, as one rank has it. All ranks give the same, but for the numbers of tokens.
typedef struct gyre_mixing {
  // GYRE_INTERFACE.
  int32_t interface;
  // The tensors that there are, in any order.
  int32_t tensor_count;
  const gyre_named_tensor *tensors;
  // The operator's name, such as "mamba"; gyre_mixers() has all.
  const char *mixer;
  // Words with blanks between them, such as "causal length=4096", or NULL.
  const char *options;
  // "contiguous" (default), "zigzag" or "striped"; operators that pass a state on have the first alone.
  const char *layout;
} gyre_mixing;

// COLLECTIVE. Joins the job: initialises MPI unless somebody in this process has, and shares the cores of
// each host out among its ranks. `threads` is how many this rank computes with; 0: its share of the cores.
int gyre_init(int32_t threads);

// This rank's number, and the number of ranks; -1 before gyre_init and after gyre_finalize.
int32_t gyre_rank(void);
int32_t gyre_size(void);

// The threads that this rank computes with; -1 as above.
int32_t gyre_threads(void);

// COLLECTIVE. Leaves the job, and finalises MPI if gyre_init has initialised it. With `failed` other ranks
// are waited for two seconds only, and the job is ended if they do not come.
int gyre_finalize(int32_t failed);

// Prints the sentence with this rank's number and ends all ranks; does not return.
void gyre_abort(int32_t code, const char *sentence);

// What went wrong in the last call that failed; valid until the next one.
const char *gyre_error(void);

// 1 if all ranks have failed in that call with that sentence, 0 if this one alone.
int32_t gyre_error_is_shared(void);

// The version of the library, such as "0.1.0 (0123abcd)".
const char *gyre_version(void);

// COLLECTIVE. Fails on all ranks if `complaint` is not NULL on any, with the complaint of the lowest, and
// if `operation` differs, which says what the ranks are about to do.
int gyre_agree(const char *operation, const char *complaint);

// The positions of the rows that a rank holds, in the order of the rows. `positions` has room for `*count`
// numbers; with NULL only `*count` is set.
int gyre_positions(
    int64_t tokens, const char *layout, int32_t reproducible, int32_t rank, int64_t *positions,
    int64_t *count);

// COLLECTIVE. Attention of this rank's queries to the keys of all ranks.
//
// `o` gets [batch, tokens, query_heads, value_head_dim], `lse` the natural logarithms of the sums of
// exponentials, [batch, query_heads, tokens], and `lse_rest` what rounding took from them, which the
// backward pass needs; a query that sees no key has output 0 and lse -inf.
//
// `complaint` is as in gyre_agree: what the caller has to say against its own arguments, or NULL.
int gyre_attend(
    const gyre_attention *attention, const char *complaint, const float *q, const float *k,
    const float *v, gyre_tensor *o, gyre_tensor *lse, gyre_tensor *lse_rest);

// COLLECTIVE. The gradients of this rank's queries, keys and values, of a loss whose gradients by the
// outputs are `output_gradient` on each rank. The other arguments are those of gyre_attend and what it gave.
//
// `dsinks` and `dbias` get the gradients of learned sinks and of the bias where there are any; else they may be
// NULL. Those of sinks add up over the ranks: one rank has them, the others have zeros.
int gyre_attend_backward(
    const gyre_attention *attention, const char *complaint, const float *q, const float *k,
    const float *v, const float *o, const float *lse, const float *lse_rest,
    const float *output_gradient, gyre_tensor *dq, gyre_tensor *dk, gyre_tensor *dv,
    gyre_tensor *dsinks, gyre_tensor *dbias);

// Gives the memory of a tensor back, and makes it empty.
void gyre_tensor_free(gyre_tensor *tensor);

// The operators, as a JSON array of objects with `name`, `summary`, `tensors` and `outputs` (each with `name`,
// `dimensions`, a list of names for each form that it may have, `optional` and `shapes`), and `options` (each
// with `name`, `kind`, which is "flag", "count", "number" or "word", and `summary`). Always there.
const char *gyre_mixers(void);

// COLLECTIVE. Computes an operator on this rank's rows.
//
// `outputs` has room for `*count` tensors, the same on all ranks: the first one is what the operator computes,
// others are such as the state in which it ends. `*count` becomes how many there are. Outputs without a
// dimension of tokens are the same on all ranks.
//
// `kept` gets what the backward pass needs, for gyre_tensor_free; NULL if there will be none. `complaint` is as
// in gyre_agree.
int gyre_mix(
    const gyre_mixing *mixing, const char *complaint, gyre_named_tensor *outputs, int32_t *count,
    gyre_tensor *kept);

// COLLECTIVE. The gradients of the tensors, in their order, of a loss whose gradient by the first output is
// `output_gradient`; where that output has no tokens, it is the same on all ranks. Gradients of tensors without
// tokens add up over the ranks: one rank has them, the others have zeros.
//
// `kept` is what gyre_mix gave for the same tensors; NULL computes it again.
int gyre_mix_backward(
    const gyre_mixing *mixing, const char *complaint, const gyre_tensor *kept,
    const float *output_gradient, gyre_tensor *gradients);

// Gives the memory of an output back, and makes it empty.
void gyre_named_tensor_free(gyre_named_tensor *tensor);

// COLLECTIVE. Adds up numbers over all ranks, in place.
int gyre_sum_f32(float *numbers, int64_t count);
int gyre_sum_f64(double *numbers, int64_t count);

// COLLECTIVE. Puts the bytes of all ranks one after the other; `counts` says how many each has.
int gyre_all_gather(const void *part, void *whole, const int64_t *counts);

// COLLECTIVE. Gives back the memory and the connections that are kept from pass to pass: those of the
// four kinds of attention that were asked for last.
int gyre_release(void);

// How often ranks were connected for a kind of attention so far; -1 as above.
int64_t gyre_connections(void);

#ifdef __cplusplus
}
#endif

#endif
