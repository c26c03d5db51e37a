#pragma once

// The compiler finds this header before CUDA's own, which it includes for the types.
#include_next <cuda_runtime.h>

#include "cushim/device_functions.h"
#include "cushim/runtime.h"
#include "cushim/tensor_core.h"
