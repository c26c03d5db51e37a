#pragma once

#include <cuda_runtime.h>

/// Defines a kernel that main.cpp can launch by name.
#if defined(CUSHIM)
#include <map>
#include <string>

using Probe = void (*)(const float*, float*);
inline std::map<std::string, Probe>& probes() {
    static std::map<std::string, Probe> table;
    return table;
}
#define PROBE(name)                                                           \
    extern "C" void name(const float*, float*);                               \
    static const bool name##_is_known = probes().emplace(#name, name).second; \
    extern "C" void name([[maybe_unused]] const float* in, [[maybe_unused]] float* out)
#else
#define PROBE(name) extern "C" __global__ void name(const float* in, float* out)
#endif
