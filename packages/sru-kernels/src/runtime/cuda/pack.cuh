#pragma once

#include <cuda_runtime.h>

#include <cstring>

#include "sru_kernels/storage.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT {

/// `columns` neighbouring elements as they lie in memory, read and written 16 bytes at a time. They stay
/// packed until they are needed: a ring of steps read ahead would not fit into registers otherwise.
template <typename Element, int columns>
struct Pack {
    static_assert(columns * sizeof(Element) % sizeof(uint4) == 0);
    static constexpr int size = columns * sizeof(Element) / sizeof(uint4);
    uint4 words[size];

    __device__ __forceinline__ void read(const Element* from) {
#pragma unroll
        for (int i = 0; i < size; ++i) words[i] = __ldg(reinterpret_cast<const uint4*>(from) + i);
    }

    __device__ __forceinline__ void write(Element* to) const {
#pragma unroll
        for (int i = 0; i < size; ++i) reinterpret_cast<uint4*>(to)[i] = words[i];
    }
};

template <int bytes>
struct BitsOf;
template <>
struct BitsOf<1> {
    using Type = unsigned char;
};
template <>
struct BitsOf<2> {
    using Type = unsigned short;
};
template <>
struct BitsOf<4> {
    using Type = unsigned int;
};
template <>
struct BitsOf<8> {
    using Type = unsigned long long;
};

/// One element. As bits, because __ldg knows no enums.
template <typename Element>
struct Pack<Element, 1> {
    using Bits = typename BitsOf<sizeof(Element)>::Type;
    Bits words[1];

    __device__ __forceinline__ void read(const Element* from) {
        words[0] = __ldg(reinterpret_cast<const Bits*>(from));
    }

    __device__ __forceinline__ void write(Element* to) const { *reinterpret_cast<Bits*>(to) = words[0]; }
};

template <typename S, int columns>
__device__ __forceinline__ void unpack(const Pack<S, columns>& pack, AccumulationType<S> (&values)[columns]) {
    S elements[columns];
    memcpy(elements, pack.words, sizeof(elements));
#pragma unroll
    for (int k = 0; k < columns; ++k) values[k] = load(elements[k]);
}

/// Rounds to the storage type and writes.
template <typename S, int columns>
__device__ __forceinline__ void write(S* to, const AccumulationType<S> (&values)[columns]) {
    S elements[columns];
#pragma unroll
    for (int k = 0; k < columns; ++k) elements[k] = store<S>(values[k]);
    Pack<S, columns> pack;
    memcpy(pack.words, elements, sizeof(elements));
    pack.write(to);
}

/// Reads an array of the accumulation type, or fills in `otherwise` if there is none.
template <typename A, int columns>
__device__ __forceinline__ void read(const void* array, Index offset, A (&values)[columns], A otherwise) {
    if (array == nullptr) {
#pragma unroll
        for (int k = 0; k < columns; ++k) values[k] = otherwise;
        return;
    }
    Pack<A, columns> pack;
    pack.read(static_cast<const A*>(array) + offset);
    unpack(pack, values);
}

}  // namespace sru_kernels::SRU_KERNELS_VARIANT
