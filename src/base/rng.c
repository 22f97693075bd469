/* xoshiro256** by Blackman and Vigna, seeded through splitmix64. */
#include "base/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

void sbx_rng_seed(sbx_rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        rng->s[i] = splitmix(&seed);
}

sbx_err sbx_rng_seed_os(sbx_rng *rng)
{
    sbx_err err = sbx_random_bytes_os(rng->s, sizeof rng->s);
    if (err != SBX_OK)
        return err;
    rng->s[0] |= 1; /* the all-zero state is the one that must not be */
    return SBX_OK;
}

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

uint64_t sbx_rng_next(sbx_rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rotate(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate(s[3], 45);
    return result;
}

uint64_t sbx_rng_below(sbx_rng *rng, uint64_t bound)
{
    if (bound == 0)
        return 0;
    /* Values below the remainder would make small results more likely: draw again. */
    uint64_t remainder = (0 - bound) % bound;
    uint64_t value = sbx_rng_next(rng);
    while (value < remainder)
        value = sbx_rng_next(rng);
    return value % bound;
}

void sbx_rng_bytes(sbx_rng *rng, void *ret_bytes, size_t len)
{
    uint8_t *bytes = ret_bytes;
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++) {
        value = i % 8 == 0 ? sbx_rng_next(rng) : value >> 8;
        bytes[i] = (uint8_t)value;
    }
}

static sbx_err read_all(int fd, uint8_t *bytes, size_t len)
{
    while (len > 0) {
        ssize_t count = read(fd, bytes, len);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return SBX_E_IO;
        bytes += count;
        len -= (size_t)count;
    }
    return SBX_OK;
}

sbx_err sbx_random_bytes_os(void *ret_bytes, size_t len)
{
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return SBX_E_IO;
    sbx_err err = read_all(fd, ret_bytes, len);
    close(fd);
    return err;
}
