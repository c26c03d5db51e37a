#include "runtime/cpu/threads.hpp"

#include <dlfcn.h>
#include <pthread.h>
#include <sys/stat.h>

namespace sru_kernels::cpu {
namespace {

// The OpenMP runtime is not linked but looked up when the first team starts. By then torch, if used at all,
// has loaded its own runtime, under a name that differs between versions; a second runtime would have its own
// thread pool. GCC compiles `omp parallel` to GOMP_parallel, which LLVM's and Intel's runtimes also provide.
struct OpenMp {
    void (*parallel)(void (*work)(void*), void* argument, unsigned num_threads, unsigned flags);
    int (*thread_num)();
    int (*num_threads)();
    int (*max_threads)();
};

template <typename Function>
bool look_up(void* library, const char* name, Function*& function) {
    function = reinterpret_cast<Function*>(dlsym(library, name));
    return function != nullptr;
}

OpenMp look_up_all(void* library) {
    OpenMp found{};
    const bool complete = look_up(library, "omp_get_thread_num", found.thread_num) &&
                          look_up(library, "omp_get_num_threads", found.num_threads) &&
                          look_up(library, "omp_get_max_threads", found.max_threads) &&
                          look_up(library, "GOMP_parallel", found.parallel);
    return complete ? found : OpenMp{};
}

/// The runtime in this process; its functions are nullptr if there is none.
const OpenMp& openmp() {
    static const OpenMp found = [] {
        // torch loads its runtime globally, so this finds the functions that torch calls.
        const OpenMp loaded = look_up_all(RTLD_DEFAULT);
        if (loaded.parallel != nullptr) return loaded;
        // If the library is missing, the handle is null, and dlsym searches everywhere again.
        return look_up_all(dlopen("libgomp.so.1", RTLD_NOW | RTLD_LOCAL));
    }();
    return found;
}

/// Whether this process was forked from one that had several threads. OpenMP's threads do not exist in the
/// child, but the runtime's memory still lists them, so a team would wait for them forever.
bool lacks_threads = false;

bool parent_has_threads = false;

void before_fork() {
    struct stat threads{};
    // The directory has a link for itself, its parent and each thread.
    parent_has_threads = stat("/proc/self/task", &threads) != 0 || threads.st_nlink != 3;
}

void in_child() { lacks_threads = lacks_threads || parent_has_threads; }

[[maybe_unused]] const int fork_handlers = pthread_atfork(before_fork, nullptr, in_child);

struct Team {
    TeamWork work;
    const void* argument;
};

void join_team(void* given) {
    const Team& team = *static_cast<const Team*>(given);
    team.work(team.argument, openmp().thread_num(), openmp().num_threads());
}

}  // namespace

void run_team(int num_threads, TeamWork work, const void* argument) {
    if (num_threads <= 1 || lacks_threads || openmp().parallel == nullptr) return work(argument, 0, 1);
    Team team{work, argument};
    openmp().parallel(join_team, &team, static_cast<unsigned>(num_threads), 0);
}

int max_threads() { return openmp().parallel != nullptr ? openmp().max_threads() : 1; }

const char* openmp_library() {
    Dl_info info{};
    const auto* function = reinterpret_cast<const void*>(openmp().parallel);
    return function != nullptr && dladdr(function, &info) != 0 ? info.dli_fname : nullptr;
}

}  // namespace sru_kernels::cpu
