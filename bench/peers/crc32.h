/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CRC-32 as zlib computes it (reflected polynomial 0xEDB88320), fast enough not to be what is measured: carry-less
 * multiplication where the CPU has it, eight table look-ups per 8 bytes elsewhere. The folding follows Gopal et al.,
 * "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Intel, 2009), constants of its
 * bit-reflected form.
 */
#ifndef FERRY_BENCH_CRC32_H
#define FERRY_BENCH_CRC32_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static uint32_t crc32_table[8][256];

static inline void crc32_setup(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = (c >> 1) ^ (c & 1 ? 0xedb88320u : 0);
        crc32_table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int t = 1; t < 8; t++)
            crc32_table[t][i] = (crc32_table[t - 1][i] >> 8) ^ crc32_table[0][crc32_table[t - 1][i] & 0xff];
}

static inline uint32_t crc32_sliced(uint32_t crc, const uint8_t *p, size_t size) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    for (; size >= 8; p += 8, size -= 8) {
        uint32_t low, high;
        memcpy(&low, p, 4);
        memcpy(&high, p + 4, 4);
        low ^= crc;
        crc = crc32_table[7][low & 0xff] ^ crc32_table[6][low >> 8 & 0xff] ^ crc32_table[5][low >> 16 & 0xff] ^
              crc32_table[4][low >> 24] ^ crc32_table[3][high & 0xff] ^ crc32_table[2][high >> 8 & 0xff] ^
              crc32_table[1][high >> 16 & 0xff] ^ crc32_table[0][high >> 24];
    }
#endif
    while (size-- > 0)
        crc = (crc >> 8) ^ crc32_table[0][(crc ^ *p++) & 0xff];
    return crc;
}

#if defined(__x86_64__)
#include <immintrin.h>

#define CRC32_TARGET __attribute__((target("pclmul,sse4.1")))

static inline CRC32_TARGET __m128i crc32_fold(__m128i x, __m128i k, __m128i next) {
    __m128i low = _mm_clmulepi64_si128(x, k, 0x00), high = _mm_clmulepi64_si128(x, k, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

/* size is a multiple of 16 and at least 64. */
static inline CRC32_TARGET uint32_t crc32_folded(uint32_t crc, const uint8_t *p, size_t size) {
    const __m128i k1k2 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4), k3k4 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
    const __m128i k5 = _mm_set_epi64x(0, 0x0163cd6124), poly_mu = _mm_set_epi64x(0x01f7011641, 0x01db710641);
    const __m128i mask = _mm_setr_epi32(-1, 0, -1, 0);
    const __m128i *in = (const __m128i *)p;
    __m128i x0 = _mm_xor_si128(_mm_loadu_si128(in), _mm_cvtsi32_si128((int)crc));
    __m128i x1 = _mm_loadu_si128(in + 1), x2 = _mm_loadu_si128(in + 2), x3 = _mm_loadu_si128(in + 3);
    for (in += 4, size -= 64; size >= 64; in += 4, size -= 64) {
        x0 = crc32_fold(x0, k1k2, _mm_loadu_si128(in));
        x1 = crc32_fold(x1, k1k2, _mm_loadu_si128(in + 1));
        x2 = crc32_fold(x2, k1k2, _mm_loadu_si128(in + 2));
        x3 = crc32_fold(x3, k1k2, _mm_loadu_si128(in + 3));
    }
    __m128i x = crc32_fold(crc32_fold(crc32_fold(x0, k3k4, x1), k3k4, x2), k3k4, x3);
    for (; size >= 16; in++, size -= 16)
        x = crc32_fold(x, k3k4, _mm_loadu_si128(in));
    /* 128 to 96 to 64 bits, then Barrett reduction to 32. */
    x = _mm_xor_si128(_mm_clmulepi64_si128(x, k3k4, 0x10), _mm_srli_si128(x, 8));
    x = _mm_xor_si128(_mm_clmulepi64_si128(_mm_and_si128(x, mask), k5, 0x00), _mm_srli_si128(x, 4));
    __m128i t = _mm_clmulepi64_si128(_mm_and_si128(x, mask), poly_mu, 0x10);
    t = _mm_clmulepi64_si128(_mm_and_si128(t, mask), poly_mu, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(x, t), 1);
}

static inline int crc32_has_folding(void) {
    return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
}
#else
static inline uint32_t crc32_folded(uint32_t crc, const uint8_t *p, size_t size) {
    return crc32_sliced(crc, p, size);
}
static inline int crc32_has_folding(void) {
    return 0;
}
#endif

/* Continues a checksum (0 to begin), as zlib's crc32(). Call crc32_setup() once before. */
static inline uint32_t crc32_update(uint32_t crc, const void *data, size_t size) {
    const uint8_t *p = data;
    crc = ~crc;
    if (size >= 64 && crc32_has_folding()) {
        size_t whole = size & ~(size_t)15;
        crc = crc32_folded(crc, p, whole);
        p += whole;
        size -= whole;
    }
    return ~crc32_sliced(crc, p, size);
}

static inline const char *crc32_method(void) {
    return crc32_has_folding() ? "carry-less multiplication" : "slice-by-8";
}

#endif
