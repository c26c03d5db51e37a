#pragma once

#include <cuda_runtime.h>

#include <cstring>
#include <type_traits>

#include "sru_kernels/storage.hpp"

namespace sru_kernels::SRU_KERNELS_VARIANT {

/// The unsigned integer type of a size in bytes.
template <int bytes>
using BitsOf =
    std::conditional_t<bytes == 1, unsigned char,
                       std::conditional_t<bytes == 2, unsigned short,
                                          std::conditional_t<bytes == 4, unsigned int, unsigned long long>>>;

/// `columns` adjacent elements as stored in memory. Several elements are read and written 16 bytes at a time
/// and stay packed until needed. A single element is held as bits, because __ldg does not accept enums.
template <typename Element, int columns>
struct Pack {
    using Word = std::conditional_t<columns == 1, BitsOf<sizeof(Element)>, uint4>;
    static_assert(columns * sizeof(Element) % sizeof(Word) == 0);
    static constexpr int size = columns * sizeof(Element) / sizeof(Word);
    Word words[size];

    __device__ __forceinline__ void read(const Element* from) {
#pragma unroll
        for (int i = 0; i < size; ++i) words[i] = __ldg(reinterpret_cast<const Word*>(from) + i);
    }

    __device__ __forceinline__ void read_shared(const Element* from) {
#pragma unroll
        for (int i = 0; i < size; ++i) words[i] = reinterpret_cast<const Word*>(from)[i];
    }

    __device__ __forceinline__ void write(Element* to) const {
#pragma unroll
        for (int i = 0; i < size; ++i) reinterpret_cast<Word*>(to)[i] = words[i];
    }
};

template <typename S, int columns>
__device__ __forceinline__ void unpack(const Pack<S, columns>& pack, AccumulationType<S> (&values)[columns]) {
    S elements[columns];
    memcpy(elements, pack.words, sizeof(elements));
#pragma unroll
    for (int k = 0; k < columns; ++k) values[k] = load(elements[k]);
}

template <typename S>
__device__ __forceinline__ AccumulationType<S> unpacked(const Pack<S, 1>& pack) {
    AccumulationType<S> values[1];
    unpack(pack, values);
    return values[0];
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

/// Reads from an array of the accumulation type, or sets all values to `otherwise` if the array is absent.
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
