#pragma once
#pragma GCC system_header

// A launch runs blocks on OS threads: as many at a time as the host has processors, or all if cooperative.
#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "cushim/barriers.h"

namespace cushim {

template <typename F>
void launch_body(dim3 grid, dim3 block, bool coop, F f, std::function<void(int)> hook = nullptr) {
    std::function<void()> body = f;
    const uint64_t nb = (uint64_t)grid.x * grid.y * grid.z;
    auto bid_of = [&](uint64_t i) {
        return uint3{unsigned(i % grid.x), unsigned(i / grid.x % grid.y),
                     unsigned(i / ((uint64_t)grid.x * grid.y))};
    };
    Launch la;
    auto setup = [&](Block& b) {
        b.bdim = block;
        b.gdim = grid;
        b.body = &body;
        b.launch = &la;
        b.hook = hook ? &hook : nullptr;
    };
    std::vector<std::thread> th;
#if defined(CUSHIM_TSAN)
    __tsan_release(&la.begin);
    if (!coop)
        for (uint64_t i = 0; i < nb;
             i += 2) {  // a new OS thread per block, and with it new __shared__ memory
            for (uint64_t j = i; j < std::min(nb, i + 2); ++j)
                th.emplace_back([&, j] {
                    Block b;
                    setup(b);
                    b.bid = bid_of(j);
                    b.run();
                });
            for (auto& t : th) t.join();
            th.clear();
        }
    else
#endif
        if (coop) {
        GridBar gb;
        gb.n = (unsigned)nb;
        for (uint64_t i = 0; i < nb; ++i)
            th.emplace_back([&, i] {
                Block b;
                setup(b);
                b.gridbar = &gb;
                b.bid = bid_of(i);
                b.run();
            });
        for (auto& t : th) t.join();
    } else {
        static const unsigned nw = getenv("CUSHIM_WORKERS")
                                       ? atoi(getenv("CUSHIM_WORKERS"))
                                       : std::max(1u, std::thread::hardware_concurrency());
        std::atomic<uint64_t> next{0};
        auto work = [&] {
            Block b;
            setup(b);
            for (uint64_t i; (i = next++) < nb;) {
                b.bid = bid_of(i);
                b.run();
            }
        };
        for (unsigned k = 0; k < std::min<uint64_t>(nw, nb); ++k) th.emplace_back(work);
        for (auto& t : th) t.join();
    }
#if defined(CUSHIM_TSAN)
    __tsan_acquire(&la.end);
#endif
}

template <typename... P, typename... A>
cudaError_t launch(void (*k)(P...), dim3 grid, dim3 block, size_t smem, bool coop, A&&... a) {
    if (!grid.x || !grid.y || !grid.z || !block.x || !block.y || !block.z ||
        block.x * block.y * block.z > 1024 || grid.y > 65535 || grid.z > 65535)
        return set_error(cudaErrorInvalidConfiguration);
    if (smem > shared_memory_limit(reinterpret_cast<const void*>(k))) return set_error(cudaErrorInvalidValue);
    if (const auto error = machine_error()) return set_error(error);
    if (const auto error = launch_error()) return set_error(error);
    if (coop)
        if (const auto error = cooperation_error(uint64_t(grid.x) * grid.y * grid.z)) return set_error(error);
    std::tuple<P...> args(std::forward<A>(a)...);
    launch_body(grid, block, coop, [=] {
        auto copy = args;
        std::apply(k, copy);
    });
    return cudaSuccess;
}
template <typename... P, size_t... I>
cudaError_t launch_void(void (*k)(P...), dim3 g, dim3 b, void** a, size_t s, bool coop,
                        std::index_sequence<I...>) {
    return launch(k, g, b, s, coop, *static_cast<std::remove_reference_t<P>*>(a[I])...);
}
}  // namespace cushim
