# The CUDA kernels: a module of their own, so that the package imports where they cannot be loaded.

if(NOT SRU_KERNELS_CUDA MATCHES "^(AUTO|ON|OFF)$")
    message(FATAL_ERROR "SRU_KERNELS_CUDA must be AUTO, ON or OFF, got ${SRU_KERNELS_CUDA}")
endif()
if(NOT SRU_KERNELS_CUDART MATCHES "^(static|shared)$")
    message(FATAL_ERROR "SRU_KERNELS_CUDART must be static or shared, got ${SRU_KERNELS_CUDART}")
endif()
if(SRU_KERNELS_CUDA STREQUAL "OFF")
    message(STATUS "sru-kernels: CPU only, as SRU_KERNELS_CUDA=OFF asks for")
    return()
endif()

# Machine code for the GPUs in use, and PTX of the newest, which later ones compile when they load it. Must be set
# before the language is enabled, which would choose for itself.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES AND NOT DEFINED ENV{CUDAARCHS})
    set(architectures_wanted TRUE)
    set(CMAKE_CUDA_ARCHITECTURES 75)
endif()

include(CheckLanguage)
check_language(CUDA)
if(NOT CMAKE_CUDA_COMPILER)
    if(SRU_KERNELS_CUDA STREQUAL "ON")
        message(FATAL_ERROR "SRU_KERNELS_CUDA=ON, but no CUDA compiler was found; put nvcc on PATH or set CUDACXX")
    endif()
    message(WARNING "sru-kernels: no nvcc found, so this build is for the CPU only; put nvcc on PATH or set CUDACXX "
                    "to build the CUDA kernels too, or SRU_KERNELS_CUDA=OFF to silence this warning")
    return()
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)

if(architectures_wanted)
    # What CUDA 13 can compile; an older nvcc makes PTX of the newest that it knows.
    set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 86-real 89-real 90-real 100-real 110-real 120)
    if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 11.8)
        message(FATAL_ERROR "sru-kernels needs CUDA 11.8 or newer, found ${CMAKE_CUDA_COMPILER_VERSION}")
    elseif(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.8)
        set(CMAKE_CUDA_ARCHITECTURES 75-real 80-real 86-real 89-real 90)
    elseif(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 13.0)
        list(REMOVE_ITEM CMAKE_CUDA_ARCHITECTURES 110-real)
    endif()
endif()

# As the package reports them: sm_90 is machine code, compute_120 is PTX.
set(architectures "")
foreach(entry IN LISTS CMAKE_CUDA_ARCHITECTURES)
    if(entry MATCHES "^(all|all-major|native)$")
        string(TOUPPER "${entry}" group)
        string(REPLACE "-" "_" group "${group}")
        list(APPEND expanded ${CMAKE_CUDA_ARCHITECTURES_${group}})
    else()
        list(APPEND expanded ${entry})
    endif()
endforeach()
foreach(entry IN LISTS expanded)
    string(REGEX REPLACE "-.*" "" number "${entry}")
    if(NOT entry MATCHES "-virtual$")
        list(APPEND machine_code "sm_${number}")
    endif()
    if(NOT entry MATCHES "-real$")
        list(APPEND ptx "compute_${number}")
    endif()
endforeach()
list(JOIN machine_code " " machine_code)
list(JOIN ptx " " ptx)
string(STRIP "${machine_code} ${ptx}" architectures)
message(STATUS "sru-kernels: CUDA ${CMAKE_CUDA_COMPILER_VERSION} for ${architectures}, ${SRU_KERNELS_CUDART} runtime")

file(GLOB cuda_sources CONFIGURE_DEPENDS src/cells/*/cuda_*.cu src/runtime/cuda/*.cpp)

pybind11_add_module(_cuda MODULE src/bindings/cuda_module.cpp ${cuda_sources})
target_include_directories(_cuda PRIVATE include src)
target_compile_features(_cuda PRIVATE cuda_std_17)
target_compile_definitions(_cuda PRIVATE
    SRU_KERNELS_VARIANT=device
    SRU_KERNELS_CUDA_TOOLKIT="${CUDAToolkit_VERSION_MAJOR}.${CUDAToolkit_VERSION_MINOR}"
    SRU_KERNELS_CUDA_ARCHITECTURES="${architectures}"
    SRU_KERNELS_CUDART="${SRU_KERNELS_CUDART}")
# No fusing beyond what math.hpp writes out: both kernels of a pass give the same bits.
target_compile_options(_cuda PRIVATE
    "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wconversion>"
    "$<$<COMPILE_LANGUAGE:CUDA>:-fmad=false>")
# A quarter of the size, for a decompression that every driver of CUDA 13 knows.
if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 13.0)
    target_compile_options(_cuda PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:--compress-mode=size>")
endif()
set_target_properties(_cuda PROPERTIES
    CUDA_VISIBILITY_PRESET hidden
    CUDA_RUNTIME_LIBRARY ${SRU_KERNELS_CUDART}
    INTERPROCEDURAL_OPTIMIZATION OFF)
if(SRU_KERNELS_CUDART STREQUAL "static")
    target_link_libraries(_cuda PRIVATE CUDA::cudart_static)
else()
    target_link_libraries(_cuda PRIVATE CUDA::cudart)
endif()
install(TARGETS _cuda LIBRARY DESTINATION sru_kernels)
