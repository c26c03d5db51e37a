#include "sru_kernels/cpu/threads.hpp"

#if defined(_OPENMP)
#include <omp.h>
#endif

namespace sru_kernels::cpu {

int openmp_version() {
#if defined(_OPENMP)
    return _OPENMP;
#else
    return 0;
#endif
}

int max_threads() {
#if defined(_OPENMP)
    return omp_get_max_threads();
#else
    return 1;
#endif
}

}  // namespace sru_kernels::cpu
