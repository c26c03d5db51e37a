// Warp-wide instructions. The input holds the operands of each lane, the output its results.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "probe.cuh"

namespace tensor_core {

/// The operands of a lane: four words of a, two of b and four of c.
struct Lane {
    unsigned a[4], b[2];
    float c[4], d[4];

    __device__ explicit Lane(const float* in) { memcpy(this, in + 10 * threadIdx.x, 10 * sizeof(float)); }
    __device__ void write(float* out) const { memcpy(out + 4 * threadIdx.x, d, sizeof(d)); }
};

#if defined(__CUDA_ARCH__)
#define MMA(form)                                                                                         \
    asm("mma.sync.aligned." form " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"   \
        : "=f"(lane.d[0]), "=f"(lane.d[1]), "=f"(lane.d[2]), "=f"(lane.d[3])                              \
        : "r"(lane.a[0]), "r"(lane.a[1]), "r"(lane.a[2]), "r"(lane.a[3]), "r"(lane.b[0]), "r"(lane.b[1]), \
          "f"(lane.c[0]), "f"(lane.c[1]), "f"(lane.c[2]), "f"(lane.c[3]))
#endif

template <int n, bool transposed>
__device__ void load(const float* in, float* out) {
    __shared__ __align__(16) float rows[32 * 4];
    const unsigned lane = threadIdx.x;
    for (int k = 0; k < 4; ++k) rows[lane * 4 + k] = in[lane * 4 + k];
    __syncwarp();
    const float* row = rows + lane * 4;
    unsigned r[n];
#if defined(__CUDA_ARCH__)
    const auto at = static_cast<unsigned>(__cvta_generic_to_shared(row));
    if constexpr (n == 1 && !transposed) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1];"
                     : "=r"(r[0])
                     : "r"(at)
                     : "memory");
    } else if constexpr (n == 2 && transposed) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                     : "=r"(r[0]), "=r"(r[1])
                     : "r"(at)
                     : "memory");
    } else if constexpr (n == 4 && !transposed) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                     : "r"(at)
                     : "memory");
    }
#elif defined(CUSHIM)
    cushim::ldmatrix<n, transposed>(r, row);
#endif
    memcpy(out + n * lane, r, sizeof(r));
}

PROBE(mma_f16) {
    Lane lane(in);
#if defined(__CUDA_ARCH__)
    MMA("m16n8k16.row.col.f32.f16.f16.f32");
#elif defined(CUSHIM)
    cushim::mma_m16n8k16<__half>(lane.d, lane.a, lane.b, lane.c);
#endif
    lane.write(out);
}

PROBE(mma_bf16) {
    Lane lane(in);
#if defined(__CUDA_ARCH__)
    MMA("m16n8k16.row.col.f32.bf16.bf16.f32");
#elif defined(CUSHIM)
    cushim::mma_m16n8k16<__nv_bfloat16>(lane.d, lane.a, lane.b, lane.c);
#endif
    lane.write(out);
}

/// The operands are float32; the kernel rounds them.
PROBE(mma_tf32) {
    Lane lane(in);
    const auto round = [](unsigned& word) {
        const float value = __uint_as_float(word);
#if defined(__CUDA_ARCH__)
        asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(word) : "f"(value));
#elif defined(CUSHIM)
        word = cushim::to_tf32(value);
#endif
    };
    for (unsigned& word : lane.a) round(word);
    for (unsigned& word : lane.b) round(word);
#if defined(__CUDA_ARCH__)
    MMA("m16n8k8.row.col.f32.tf32.tf32.f32");
#elif defined(CUSHIM)
    cushim::mma_m16n8k8_tf32(lane.d, lane.a, lane.b, lane.c);
#endif
    lane.write(out);
}

PROBE(ldmatrix_x1) { load<1, false>(in, out); }
PROBE(ldmatrix_x2_trans) { load<2, true>(in, out); }
PROBE(ldmatrix_x4) { load<4, false>(in, out); }

}  // namespace tensor_core
