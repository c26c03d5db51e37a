#pragma once

namespace sru_kernels::cpu {

/// The work of one thread of a team; `argument` comes from the caller of `run_team`.
using TeamWork = void (*)(const void* argument, int thread, int threads);

/// Calls `work` once on each thread of a team of at most `num_threads`, and returns when all have finished.
/// Without an OpenMP runtime, or in a child forked from a process with several threads, the team is the
/// calling thread alone.
void run_team(int num_threads, TeamWork work, const void* argument);

/// The number of threads that OpenMP starts by default; 1 without OpenMP.
int max_threads();

/// The file of the OpenMP runtime, looked up now if no team has needed it yet; nullptr if there is none.
const char* openmp_library();

}  // namespace sru_kernels::cpu
