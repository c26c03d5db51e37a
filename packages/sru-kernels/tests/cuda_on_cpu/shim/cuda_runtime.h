#pragma once

// Found before CUDA's own header of this name, which it includes for the types.
#include_next <cuda_runtime.h>

#include "cushim/device_functions.h"
#include "cushim/runtime.h"
#include "cushim/tensor_core.h"
