#pragma once

/// Instructions that Swift has no words for, as functions that disappear in their callers.
///
/// Those on bf16 are there for a target that is compiled for its instructions, and for no other;
/// the rest are plain C where there are none.

#include <stdint.h>
#include <string.h>

#include "Tiles.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512BF16__) && defined(__AVX512BW__)

/// Sixteen numbers.
typedef float gyre_floats __attribute__((ext_vector_type(16)));
/// Sixteen pairs of bf16 numbers, the first of a pair in the lower half.
typedef unsigned int gyre_pairs __attribute__((ext_vector_type(16)));

/// `sum + a.second · b.second + a.first · b.first`, from left to right, each rounded: `vdpbf16ps`.
static inline __attribute__((always_inline)) gyre_floats
gyre_add_products_of_pairs(gyre_floats sum, gyre_pairs a, gyre_pairs b) {
  return (gyre_floats)_mm512_dpbf16_ps((__m512)sum, (__m512bh)a, (__m512bh)b);
}

/// Thirty-two numbers rounded, neighbours becoming pairs: `vcvtne2ps2bf16`.
static inline __attribute__((always_inline)) gyre_pairs
gyre_pairs_of_neighbours(gyre_floats first, gyre_floats second) {
  return (gyre_pairs)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first);
}

/// Twice sixteen numbers rounded, those of the same lane becoming pairs.
static inline __attribute__((always_inline)) gyre_pairs
gyre_pairs_of_lanes(gyre_floats first, gyre_floats second) {
  const __m512i places = _mm512_set_epi16(
      31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19,
      3, 18, 2, 17, 1, 16, 0);
  return (gyre_pairs)_mm512_permutexvar_epi16(
      places, (__m512i)_mm512_cvtne2ps_pbh((__m512)second, (__m512)first));
}

/// Two rows of sixteen bf16 numbers, one after the other, the numbers of a column becoming a pair.
static inline __attribute__((always_inline)) gyre_pairs gyre_pairs_of_rows(gyre_pairs rows) {
  const __m512i places = _mm512_set_epi16(
      31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19,
      3, 18, 2, 17, 1, 16, 0);
  return (gyre_pairs)_mm512_permutexvar_epi16(places, (__m512i)rows);
}
#endif

/// Makes this thread's arithmetic take denormal numbers for zero and leave none.
///
/// - Returns: what ``gyre_end_flushing_denormals`` wants.
unsigned int gyre_begin_flushing_denormals(void);

/// Makes this thread's arithmetic what it was.
void gyre_end_flushing_denormals(unsigned int before);

/// Sixteen floats: `SIMD16<Float>`.
typedef float gyre_floats16 __attribute__((ext_vector_type(16)));

#if defined(__AVX2__)
/// Twice eight floats as sixteen: a macro, since no function without AVX-512 can return those.
#define GYRE_JOINED(first, second)                                                               \
  __builtin_shufflevector(                                                                       \
      (first), (second), 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#endif

/// Eight floats: `SIMD8<Float>`.
typedef float gyre_floats8 __attribute__((ext_vector_type(8)));

/// The largest of eight floats, none of which is NaN.
///
/// Written out, since compilers make comparisons of whole vectors, and then of their halves, masks
/// that they take apart lane by lane.
static inline __attribute__((always_inline)) float gyre_largest_of_8(gyre_floats8 numbers) {
#if defined(__AVX__)
  const __m256 all = (__m256)numbers;
  __m128 most = _mm_max_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
  most = _mm_max_ps(most, _mm_movehl_ps(most, most));
  return _mm_cvtss_f32(_mm_max_ss(most, _mm_movehdup_ps(most)));
#else
  float most = numbers[0];
  for (int lane = 1; lane < 8; ++lane) most = numbers[lane] > most ? numbers[lane] : most;
  return most;
#endif
}

/// The larger of each two of eight floats; where either is NaN that of `numbers`.
///
/// Written out for the same reason.
static inline __attribute__((always_inline)) gyre_floats8
gyre_larger_of_8(gyre_floats8 numbers, gyre_floats8 others) {
#if defined(__AVX__)
  return (gyre_floats8)_mm256_max_ps((__m256)others, (__m256)numbers);
#else
  return others > numbers ? others : numbers;
#endif
}

#if defined(__AVX512F__)
/// The larger of each two of sixteen floats; where either is NaN that of `numbers`.
static inline __attribute__((always_inline)) gyre_floats16
gyre_larger_of_16(gyre_floats16 numbers, gyre_floats16 others) {
  return (gyre_floats16)_mm512_max_ps((__m512)others, (__m512)numbers);
}

/// The largest of sixteen.
static inline __attribute__((always_inline)) float gyre_largest_of_16(gyre_floats16 numbers) {
  const __m512 all = (__m512)numbers;
  const __m256 upper = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(all), 1));
  return gyre_largest_of_8((gyre_floats8)_mm256_max_ps(_mm512_castps512_ps256(all), upper));
}
#endif

/// Eight integers, and eight words of four bytes each.
typedef int gyre_integers8 __attribute__((ext_vector_type(8)));
typedef unsigned int gyre_words8 __attribute__((ext_vector_type(8)));

// Conversions of whole vectors are here because Swift's own are generic functions, of which the
// linker keeps one for all modules: a call for each vector.

/// Eight integers as floats.
static inline __attribute__((always_inline)) gyre_floats8
gyre_floats_of_integers_8(gyre_integers8 integers) {
  return __builtin_convertvector(integers, gyre_floats8);
}

/// Stores the lowest byte of each of eight words.
static inline __attribute__((always_inline)) void
gyre_store_low_bytes_8(gyre_words8 words, void *_Nonnull bytes) {
  typedef unsigned char Bytes __attribute__((ext_vector_type(8)));
  const Bytes low = __builtin_convertvector(words, Bytes);
  memcpy(bytes, &low, sizeof low);
}

/// Widens eight numbers of half precision, of which `numbers` need not be aligned.
static inline __attribute__((always_inline)) gyre_floats8
gyre_widen_8_halves(const void *_Nonnull numbers) {
#if defined(__F16C__)
  return (gyre_floats8)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)numbers));
#else
  typedef _Float16 Halves __attribute__((ext_vector_type(8)));
  Halves halves;
  memcpy(&halves, numbers, sizeof halves);
  return __builtin_convertvector(halves, gyre_floats8);
#endif
}

/// Widens eight bytes with a sign.
static inline __attribute__((always_inline)) gyre_floats8
gyre_widen_8_bytes(const void *_Nonnull bytes) {
  typedef int8_t Bytes __attribute__((ext_vector_type(8)));
  Bytes integers;
  memcpy(&integers, bytes, sizeof integers);
  return __builtin_convertvector(integers, gyre_floats8);
}

/// Widens eight integers of 16 bits without a sign.
static inline __attribute__((always_inline)) gyre_words8
gyre_words_of_8_shorts(const void *_Nonnull shorts) {
  typedef unsigned short Shorts __attribute__((ext_vector_type(8)));
  Shorts integers;
  memcpy(&integers, shorts, sizeof integers);
  return __builtin_convertvector(integers, gyre_words8);
}

/// `sum + a₀ b₀ + a₁ b₁ + a₂ b₂ + a₃ b₃` of the bytes of each word, those of `a` without a sign and
/// those of `b` with one: what `vpdpbusd` adds up.
static inline __attribute__((always_inline)) gyre_integers8
gyre_add_products_of_bytes_8(gyre_integers8 sum, gyre_words8 a, gyre_words8 b) {
#if defined(__AVX2__)
  const __m256i first = _mm256_and_si256((__m256i)a, _mm256_set1_epi16(255));
  const __m256i even =
      _mm256_madd_epi16(first, _mm256_srai_epi16(_mm256_slli_epi16((__m256i)b, 8), 8));
  const __m256i odd =
      _mm256_madd_epi16(_mm256_srli_epi16((__m256i)a, 8), _mm256_srai_epi16((__m256i)b, 8));
  return (gyre_integers8)_mm256_add_epi32((__m256i)sum, _mm256_add_epi32(even, odd));
#else
  for (int byte = 0; byte < 32; byte += 8)
    sum += (gyre_integers8)(a >> byte & 255) * ((gyre_integers8)(b << (24 - byte)) >> 24);
  return sum;
#endif
}

#if defined(__AVX512BW__)
/// Sixteen integers, and sixteen words of four bytes each.
typedef int gyre_integers16 __attribute__((ext_vector_type(16)));
typedef unsigned int gyre_words16 __attribute__((ext_vector_type(16)));

/// Sixteen integers as floats.
static inline __attribute__((always_inline)) gyre_floats16
gyre_floats_of_integers_16(gyre_integers16 integers) {
  return (gyre_floats16)_mm512_cvtepi32_ps((__m512i)integers);
}

/// Stores the lowest byte of each of sixteen words.
static inline __attribute__((always_inline)) void
gyre_store_low_bytes_16(gyre_words16 words, void *_Nonnull bytes) {
  _mm_storeu_si128((__m128i *)bytes, _mm512_cvtepi32_epi8((__m512i)words));
}

/// Widens sixteen integers of 16 bits without a sign.
static inline __attribute__((always_inline)) gyre_words16
gyre_words_of_16_shorts(const void *_Nonnull shorts) {
  return (gyre_words16)_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)shorts));
}

/// The same of sixteen words.
static inline __attribute__((always_inline)) gyre_integers16
gyre_add_products_of_bytes_16(gyre_integers16 sum, gyre_words16 a, gyre_words16 b) {
#if defined(__AVX512VNNI__)
  return (gyre_integers16)_mm512_dpbusd_epi32((__m512i)sum, (__m512i)a, (__m512i)b);
#else
  const __m512i first = _mm512_and_si512((__m512i)a, _mm512_set1_epi16(255));
  const __m512i even =
      _mm512_madd_epi16(first, _mm512_srai_epi16(_mm512_slli_epi16((__m512i)b, 8), 8));
  const __m512i odd =
      _mm512_madd_epi16(_mm512_srli_epi16((__m512i)a, 8), _mm512_srai_epi16((__m512i)b, 8));
  return (gyre_integers16)_mm512_add_epi32((__m512i)sum, _mm512_add_epi32(even, odd));
#endif
}
#endif

/// The largest magnitude of 32 floats; NaN if one of them is.
///
/// Without their signs floats are in the order of their bits, NaN above all others.
static inline __attribute__((always_inline)) float
gyre_largest_magnitude_of_32(const float *_Nonnull numbers) {
#if defined(__AVX2__)
#if defined(__AVX512F__)
  const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
  const __m512i both = _mm512_max_epi32(
      _mm512_and_si512(_mm512_loadu_si512(numbers), magnitude),
      _mm512_and_si512(_mm512_loadu_si512(numbers + 16), magnitude));
  const __m256i all =
      _mm256_max_epi32(_mm512_castsi512_si256(both), _mm512_extracti64x4_epi64(both, 1));
#else
  const __m256i magnitude = _mm256_set1_epi32(0x7FFFFFFF);
  const __m256i *const eights = (const __m256i *)numbers;
  __m256i all = _mm256_and_si256(_mm256_loadu_si256(eights), magnitude);
  for (int eight = 1; eight < 4; ++eight)
    all = _mm256_max_epi32(all, _mm256_and_si256(_mm256_loadu_si256(eights + eight), magnitude));
#endif
  __m128i most = _mm_max_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 0x4E));
  most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 0xB1));
  return _mm_cvtss_f32(_mm_castsi128_ps(most));
#else
  uint32_t most = 0;
  for (int place = 0; place < 32; ++place) {
    uint32_t bits;
    memcpy(&bits, numbers + place, sizeof bits);
    bits &= 0x7FFFFFFF;
    most = bits > most ? bits : most;
  }
  float largest;
  memcpy(&largest, &most, sizeof largest);
  return largest;
#endif
}

/// Asks for the cache line at `address` to come to the first-level cache. It need not be one that
/// may be read: the processor goes on and never faults.
static inline __attribute__((always_inline)) void gyre_prefetch_near(const void *_Nonnull address) {
  __builtin_prefetch(address, 0, 3);
}

/// Asks for it to come to the second-level cache.
static inline __attribute__((always_inline)) void gyre_prefetch_far(const void *_Nonnull address) {
  __builtin_prefetch(address, 0, 2);
}

/// Widens sixteen numbers of half precision, of which `numbers` need not be aligned.
static inline __attribute__((always_inline)) gyre_floats16
gyre_widen_halves(const void *_Nonnull numbers) {
#if defined(__AVX512F__)
  return (gyre_floats16)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)numbers));
#elif defined(__F16C__)
  const __m128i *const halves = (const __m128i *)numbers;
  return GYRE_JOINED(
      _mm256_cvtph_ps(_mm_loadu_si128(halves)), _mm256_cvtph_ps(_mm_loadu_si128(halves + 1)));
#else
  typedef _Float16 Halves __attribute__((ext_vector_type(16)));
  Halves halves;
  memcpy(&halves, numbers, sizeof halves);
  return __builtin_convertvector(halves, gyre_floats16);
#endif
}

/// Widens sixteen bytes with a sign.
static inline __attribute__((always_inline)) gyre_floats16
gyre_widen_bytes(const void *_Nonnull bytes) {
#if defined(__AVX512F__)
  return (gyre_floats16)_mm512_cvtepi32_ps(
      _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)bytes)));
#elif defined(__AVX2__)
  const int8_t *const second = (const int8_t *)bytes + 8;
  return GYRE_JOINED(
      _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)bytes))),
      _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)second))));
#else
  typedef int8_t Bytes __attribute__((ext_vector_type(16)));
  Bytes integers;
  memcpy(&integers, bytes, sizeof integers);
  return __builtin_convertvector(integers, gyre_floats16);
#endif
}

/// Widens sixteen bytes with a sign to numbers 2^24 times as large.
///
/// A shuffle that puts each byte on top of a word of zeros, and a conversion: with 256 bits that
/// takes half as long as ``gyre_widen_bytes``, with 512 longer.
static inline __attribute__((always_inline)) gyre_floats16
gyre_widen_bytes_upwards(const void *_Nonnull bytes) {
#if defined(__AVX2__)
  const __m256i low = _mm256_set_epi64x(
      0x07FFFFFF06FFFFFF, 0x05FFFFFF04FFFFFF, 0x03FFFFFF02FFFFFF, 0x01FFFFFF00FFFFFF);
  const __m256i high = _mm256_set_epi64x(
      0x0FFFFFFF0EFFFFFF, 0x0DFFFFFF0CFFFFFF, 0x0BFFFFFF0AFFFFFF, 0x09FFFFFF08FFFFFF);
  const __m256i all = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)bytes));
  return GYRE_JOINED(
      _mm256_cvtepi32_ps(_mm256_shuffle_epi8(all, low)),
      _mm256_cvtepi32_ps(_mm256_shuffle_epi8(all, high)));
#else
  return gyre_widen_bytes(bytes) * 16777216.0f;
#endif
}

/// Sixteen bytes: `SIMD16<UInt8>`.
typedef unsigned char gyre_bytes16 __attribute__((ext_vector_type(16)));

/// Widens sixteen bytes without a sign.
static inline __attribute__((always_inline)) gyre_floats16
gyre_floats_of_bytes(gyre_bytes16 bytes) {
#if defined(__AVX512F__)
  return (gyre_floats16)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32((__m128i)bytes));
#elif defined(__AVX2__)
  const __m128i all = (__m128i)bytes;
  return GYRE_JOINED(
      _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(all)),
      _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_unpackhi_epi64(all, all))));
#else
  return __builtin_convertvector(bytes, gyre_floats16);
#endif
}

/// Eight bytes, each twice.
static inline __attribute__((always_inline)) gyre_bytes16 gyre_bytes_twice(uint64_t bytes) {
#if defined(__AVX2__)
  const __m128i all = _mm_cvtsi64_si128((long long)bytes);
  return (gyre_bytes16)_mm_unpacklo_epi8(all, all);
#else
  gyre_bytes16 twice;
  for (int lane = 0; lane < 16; ++lane) twice[lane] = (unsigned char)(bytes >> (lane / 2 * 8));
  return twice;
#endif
}

/// Widens sixteen numbers of bf16.
static inline __attribute__((always_inline)) gyre_floats16
gyre_widen_brains(const void *_Nonnull numbers) {
#if defined(__AVX512F__)
  return (gyre_floats16)_mm512_slli_epi32(
      _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)numbers)), 16);
#elif defined(__AVX2__)
  const __m128i *const halves = (const __m128i *)numbers;
  const __m256i first = _mm256_cvtepu16_epi32(_mm_loadu_si128(halves));
  const __m256i second = _mm256_cvtepu16_epi32(_mm_loadu_si128(halves + 1));
  return GYRE_JOINED(
      (__m256)_mm256_slli_epi32(first, 16), (__m256)_mm256_slli_epi32(second, 16));
#else
  typedef unsigned short Halves __attribute__((ext_vector_type(16)));
  typedef unsigned int Words __attribute__((ext_vector_type(16)));
  Halves halves;
  memcpy(&halves, numbers, sizeof halves);
  return (gyre_floats16)(__builtin_convertvector(halves, Words) << 16);
#endif
}

/// A number of half precision.
static inline __attribute__((always_inline)) float gyre_widen_half(const void *_Nonnull number) {
#if defined(__F16C__)
  unsigned short bits;
  memcpy(&bits, number, sizeof bits);
  // By a register of its own: what puts a word into a vector waits for what was in that before.
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(bits)));
#else
  _Float16 half;
  memcpy(&half, number, sizeof half);
  return half;
#endif
}

/// The sixteen numbers that four bits can be, `least` and those after it, for a shuffle.
#define GYRE_LEVELS(least)                                                                       \
  _mm512_add_ps(                                                                                 \
      _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),                      \
      _mm512_set1_ps((float)(least)))

/// Four bits of each of sixteen bytes, from bit `shift` on, plus `least`.
static inline __attribute__((always_inline)) gyre_floats16
gyre_four_bits(const void *_Nonnull bytes, unsigned int shift, int least) {
#if defined(__AVX512F__)
  // A shuffle asks for four bits of a word, whatever stands above them.
  const __m512i words = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)bytes));
  return (gyre_floats16)_mm512_permutexvar_ps(_mm512_srli_epi32(words, shift), GYRE_LEVELS(least));
#elif defined(__AVX2__)
  const __m128i all = _mm_srl_epi16(
      _mm_loadu_si128((const __m128i *)bytes), _mm_cvtsi32_si128((int)shift));
  const __m128i levels =
      _mm_add_epi8(_mm_and_si128(all, _mm_set1_epi8(15)), _mm_set1_epi8((char)least));
  return GYRE_JOINED(
      _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(levels)),
      _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(levels, levels))));
#else
  gyre_bytes16 all;
  memcpy(&all, bytes, sizeof all);
  return gyre_floats_of_bytes((all >> (unsigned char)shift) & (unsigned char)15) + (float)least;
#endif
}

/// Twice the numbers of four bits: 0, 0.5, 1, 1.5, 2, 3, 4 and 6, then these with the other sign.
#define GYRE_SMALL_FLOATS 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12

/// Twice the number of four bits in each of sixteen bytes, from bit `shift` on.
static inline __attribute__((always_inline)) gyre_floats16
gyre_small_floats(const void *_Nonnull bytes, unsigned int shift) {
#if defined(__AVX512F__)
  static const float levels[16] = {GYRE_SMALL_FLOATS};
  const __m512i words = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)bytes));
  return (gyre_floats16)_mm512_permutexvar_ps(
      _mm512_srli_epi32(words, shift), _mm512_loadu_ps(levels));
#elif defined(__AVX2__)
  const __m128i all = _mm_srl_epi16(
      _mm_loadu_si128((const __m128i *)bytes), _mm_cvtsi32_si128((int)shift));
  const __m128i levels = _mm_shuffle_epi8(
      _mm_setr_epi8(GYRE_SMALL_FLOATS), _mm_and_si128(all, _mm_set1_epi8(15)));
  return GYRE_JOINED(
      _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(levels)),
      _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(levels, levels))));
#else
  static const float levels[16] = {GYRE_SMALL_FLOATS};
  const unsigned char *const all = (const unsigned char *)bytes;
  gyre_floats16 floats;
  for (int lane = 0; lane < 16; ++lane) floats[lane] = levels[all[lane] >> shift & 15];
  return floats;
#endif
}

/// As `gyre_four_bits` with a fifth bit above: the sixteen lowest of `bits`, the first byte's first.
static inline __attribute__((always_inline)) gyre_floats16
gyre_five_bits(const void *_Nonnull bytes, unsigned int shift, unsigned int bits, int least) {
#if defined(__AVX512F__)
  const __m512 low = (__m512)gyre_four_bits(bytes, shift, least);
  return (gyre_floats16)_mm512_mask_add_ps(low, (__mmask16)bits, low, _mm512_set1_ps(16));
#elif defined(__AVX2__)
  const __m128i places = _mm_set1_epi64x((long long)0x8040201008040201);
  const __m128i spread = _mm_shuffle_epi8(
      _mm_cvtsi32_si128((int)bits), _mm_set_epi64x(0x0101010101010101, 0));
  const __m128i isSet = _mm_cmpeq_epi8(_mm_and_si128(spread, places), places);
  const __m128i all = _mm_srl_epi16(
      _mm_loadu_si128((const __m128i *)bytes), _mm_cvtsi32_si128((int)shift));
  const __m128i levels = _mm_add_epi8(
      _mm_or_si128(
          _mm_and_si128(all, _mm_set1_epi8(15)), _mm_and_si128(isSet, _mm_set1_epi8(16))),
      _mm_set1_epi8((char)least));
  return GYRE_JOINED(
      _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(levels)),
      _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(levels, levels))));
#else
  gyre_floats16 levels = gyre_four_bits(bytes, shift, least);
  for (int lane = 0; lane < 16; ++lane) levels[lane] += (bits >> lane & 1) ? 16 : 0;
  return levels;
#endif
}

/// Bits of sixteen bytes at two places, joined: those of `low` under `lowMask`, from bit `lowShift`
/// on, and those of `high` under `highMask` above them, from bit `above` on; plus `least`.
static inline __attribute__((always_inline)) gyre_floats16 gyre_joined_bits(
    const void *_Nonnull low, unsigned int lowShift, int lowMask, const void *_Nonnull high,
    unsigned int highShift, int highMask, unsigned int above, int least) {
#if defined(__AVX2__)
  // Neighbours come into a word's upper half, and are masked away.
  const __m128i lower = _mm_and_si128(
      _mm_srl_epi16(
          _mm_loadu_si128((const __m128i *)low), _mm_cvtsi32_si128((int)lowShift)),
      _mm_set1_epi8((char)lowMask));
  const __m128i upper = _mm_and_si128(
      _mm_srl_epi16(
          _mm_loadu_si128((const __m128i *)high), _mm_cvtsi32_si128((int)highShift)),
      _mm_set1_epi8((char)highMask));
  const __m128i levels = _mm_add_epi8(
      _mm_or_si128(lower, _mm_slli_epi16(upper, (int)above)), _mm_set1_epi8((char)least));
#if defined(__AVX512F__)
  return (gyre_floats16)_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(levels));
#else
  return GYRE_JOINED(
      _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(levels)),
      _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(levels, levels))));
#endif
#else
  gyre_bytes16 lower, upper;
  memcpy(&lower, low, sizeof lower);
  memcpy(&upper, high, sizeof upper);
  lower = (lower >> (unsigned char)lowShift) & (unsigned char)lowMask;
  upper = (upper >> (unsigned char)highShift) & (unsigned char)highMask;
  return gyre_floats_of_bytes(lower | (upper << (unsigned char)above)) + (float)least;
#endif
}

/// One of sixteen numbers, sixteen times.
static inline __attribute__((always_inline)) gyre_floats16
gyre_repeated_lane(gyre_floats16 numbers, int lane) {
#if defined(__AVX512F__)
  return (gyre_floats16)_mm512_permutexvar_ps(_mm512_set1_epi32(lane), (__m512)numbers);
#else
  return (gyre_floats16)numbers[lane];
#endif
}
