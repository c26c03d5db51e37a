#pragma once

namespace sru_kernels::cpu {

/// The date of the OpenMP specification, such as 201511; 0 if this build has no OpenMP and runs one thread.
int openmp_version();

/// The number of threads that OpenMP would start unasked; 1 without OpenMP.
int max_threads();

}  // namespace sru_kernels::cpu
