// Launches a kernel. The arguments are its name, the threads per block and the number of blocks; several
// blocks are launched cooperatively. Reads the input from stdin and writes an output of the same size to
// stdout. Compiled with the sources or with their translated PTX.
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <vector>

#if defined(PROBES_ARE_PTX)
#include "cudart.cpp"
#include "probes.cpp"

static const char* find(const char* name) {
    __cudaRegisterFunction(nullptr, name, nullptr, name, -1, nullptr, nullptr, nullptr, nullptr, nullptr);
    return name;
}
#else
#include "async_copy.cu"
#include "grid_barrier.cu"
#include "tensor_core.cu"

static Probe find(const char* name) { return probes().at(name); }
#endif

static unsigned number(const char* word) { return static_cast<unsigned>(atoi(word)); }

int main(int, char** words) {
    std::vector<char> bytes;
    for (int c; (c = getchar()) != EOF;) bytes.push_back(static_cast<char>(c));
    // malloc aligns to 16 bytes, and sanitizers check its bounds.
    void *in = malloc(bytes.size()), *out = calloc(bytes.size(), 1);
    memcpy(in, bytes.data(), bytes.size());
    void* arguments[] = {&in, &out};
    const dim3 threads(number(words[2])), blocks(number(words[3]));
    const cudaError_t status =
        blocks.x == 1 ? cudaLaunchKernel(find(words[1]), blocks, threads, arguments, 0, nullptr)
                      : cudaLaunchCooperativeKernel(find(words[1]), blocks, threads, arguments, 0, nullptr);
    fwrite(out, 1, bytes.size(), stdout);
    return status;
}
