/* A CUDA runtime without a GPU: its device memory is the host's, and its kernels do nothing.
 *
 * Preloaded, it answers PyTorch's calls of libcudart, so that all of PyTorch above the kernels really runs: devices and
 * contexts, the caching allocator, streams, events, generators, autograd's threads, graph capture. What the kernels would
 * compute is put into the same memory by host_values.py.
 *
 * It counts what a layer costs a GPU (launches, products, copies, waits), refuses within a capture what CUDA refuses
 * there, and can be told to fail as a device does after a device-side assert: for good, at the next wait.
 *
 * Everything is done at once: no stream is ever behind, so that it shows no race.
 */
#define _GNU_SOURCE
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#undef cudaGetDeviceProperties
#undef cudaStreamGetCaptureInfo
#undef cudaStreamUpdateCaptureDependencies
#undef cudaGraphNodeGetDependencies

/* ---- What Python reads and sets, through ctypes ---- */

enum { KERNEL, PRODUCT, TO_DEVICE, TO_HOST, ON_DEVICE, WAIT, GRAPH, KINDS };
long stand_in_counts[KINDS];
long stand_in_memory = 8L << 30; /* bytes that the device has */
int stand_in_asserts = 0;        /* 1: the next kernel fails, as one does that reads past the end of a tensor */

static long allocated = 0;
static int failed = 0, lost = 0; /* a kernel failed; a wait has told of it, and every call fails from now on */

static void count(int kind) { __sync_fetch_and_add(&stand_in_counts[kind], 1); }

/* ---- Errors ---- */

static __thread cudaError_t last = cudaSuccess;

static cudaError_t status(cudaError_t error) {
  if (lost) error = cudaErrorAssert;
  if (error != cudaSuccess) last = error;
  return error;
}

#define OK status(cudaSuccess)
#define SUCCEEDS(name, ...) cudaError_t name(__VA_ARGS__) { return OK; }

cudaError_t cudaPeekAtLastError(void) { return lost ? cudaErrorAssert : last; }
cudaError_t cudaGetLastError(void) {
  cudaError_t error = cudaPeekAtLastError();
  last = cudaSuccess;
  return error;
}

const char *cudaGetErrorName(cudaError_t error) { return error == cudaErrorAssert ? "cudaErrorAssert" : "cudaError"; }
const char *cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorAssert: return "device-side assert triggered";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    default: return "an error of the stand-in";
  }
}

/* ---- Devices ---- */

static __thread int device = 0;

static int devices(void) {
  const char *number = getenv("CUDA_STAND_IN_DEVICES");
  return number ? atoi(number) : 1;
}

cudaError_t cudaGetDeviceCount(int *n) { *n = devices(); return cudaSuccess; }
cudaError_t cudaGetDevice(int *d) { *d = device; return OK; }
cudaError_t cudaSetDevice(int d) {
  if (d < 0 || d >= devices()) return status(cudaErrorInvalidDevice);
  device = d;
  return OK;
}
cudaError_t cudaDriverGetVersion(int *v) { *v = CUDART_VERSION; return cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int *v) { *v = CUDART_VERSION; return cudaSuccess; }

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *p, int d) {
  if (d < 0 || d >= devices()) return status(cudaErrorInvalidDevice);
  memset(p, 0, sizeof *p);
  strcpy(p->name, "stand-in, no GPU");
  p->major = 9; /* what it claims to be, so that PyTorch picks kernels: the sizes are those of an H100 */
  p->multiProcessorCount = 132;
  p->totalGlobalMem = stand_in_memory;
  p->sharedMemPerBlock = 48 << 10;
  p->sharedMemPerBlockOptin = 227 << 10;
  p->sharedMemPerMultiprocessor = 228 << 10;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->warpSize = 32;
  p->maxThreadsPerBlock = p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
  p->maxThreadsPerMultiProcessor = 2048;
  p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 2147483647;
  p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->l2CacheSize = 50 << 20;
  p->textureAlignment = 512;
  p->unifiedAddressing = 1;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *v, enum cudaDeviceAttr attribute, int d) {
  switch (attribute) {
    case cudaDevAttrComputeCapabilityMajor: *v = 9; break;
    case cudaDevAttrComputeCapabilityMinor: *v = 0; break;
    case cudaDevAttrMultiProcessorCount: *v = 132; break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin: *v = 227 << 10; break;
    default: *v = 1;
  }
  return cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char *text, int n, int d) { snprintf(text, n, "0000:%02x:00.0", d); return cudaSuccess; }
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *most) { *least = 0; *most = -5; return OK; }
cudaError_t cudaDeviceCanAccessPeer(int *v, int a, int b) { *v = 1; return OK; }
SUCCEEDS(cudaDeviceEnablePeerAccess, int d, unsigned flags)

/* ---- Memory: the host's, and a list of what is the device's and what is pinned ---- */

enum { PAGEABLE, DEVICE, PINNED };
typedef struct { char *begin; size_t size; int kind; } Range;
static Range ranges[1 << 14];
static int last_range = 0;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void note(void *p, size_t size, int kind) {
  pthread_mutex_lock(&lock);
  int i = 0;
  while (ranges[i].begin) i++;
  if (i == sizeof ranges / sizeof *ranges - 1) abort(); /* the last one stays empty */
  ranges[i] = (Range){p, size, kind};
  if (i >= last_range) last_range = i + 1;
  pthread_mutex_unlock(&lock);
}
static Range *range_of(const void *p) { /* under the lock */
  for (int i = 0; i < last_range; i++)
    if (ranges[i].begin && (char *)p >= ranges[i].begin && (char *)p < ranges[i].begin + ranges[i].size) return &ranges[i];
  return NULL;
}
static size_t forget(void *p) {
  pthread_mutex_lock(&lock);
  Range *found = range_of(p);
  size_t size = found ? found->size : 0;
  if (found) found->begin = NULL;
  pthread_mutex_unlock(&lock);
  return size;
}
static int kind_of(const void *p) {
  pthread_mutex_lock(&lock);
  Range *found = range_of(p);
  int kind = found ? found->kind : PAGEABLE;
  pthread_mutex_unlock(&lock);
  return kind;
}

static cudaError_t allocate(void **p, size_t size, int kind) {
  *p = NULL;
  if (kind == DEVICE && allocated + (long)size > stand_in_memory) return status(cudaErrorMemoryAllocation);
  if (posix_memalign(p, 512, size ? size : 512)) return status(cudaErrorMemoryAllocation);
  if (kind == DEVICE) {
    memset(*p, 0xFF, size); /* NaN in every dtype, for whoever reads what nobody wrote */
    allocated += size;
  }
  note(*p, size ? size : 512, kind);
  return OK;
}

cudaError_t cudaMalloc(void **p, size_t size) { return allocate(p, size, DEVICE); }
cudaError_t cudaFree(void *p) {
  if (p) allocated -= forget(p);
  free(p);
  return OK;
}
cudaError_t cudaHostAlloc(void **p, size_t size, unsigned flags) { return allocate(p, size, PINNED); }
cudaError_t cudaFreeHost(void *p) {
  if (p) forget(p);
  free(p);
  return OK;
}
cudaError_t cudaHostRegister(void *p, size_t size, unsigned flags) { note(p, size, PINNED); return OK; }
cudaError_t cudaHostUnregister(void *p) { forget(p); return OK; }
cudaError_t cudaMemGetInfo(size_t *left, size_t *all) { *all = stand_in_memory; *left = *all - allocated; return OK; }
cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes *a, const void *p) {
  int kind = kind_of(p);
  memset(a, 0, sizeof *a);
  a->type = kind == DEVICE ? cudaMemoryTypeDevice : kind == PINNED ? cudaMemoryTypeHost : cudaMemoryTypeUnregistered;
  a->devicePointer = a->hostPointer = (void *)p;
  return OK;
}

/* ---- Graph capture: one at a time. What is captured has run by then; a replay finds its results there ---- */

static __thread enum cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
static int capturing = 0, invalid = 0;
static cudaStream_t captured;
static long handles = 0x1000;

static cudaError_t refused(void) {
  invalid = 1;
  return status(cudaErrorStreamCaptureUnsupported);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t s, enum cudaStreamCaptureMode m) {
  capturing = 1;
  invalid = 0;
  captured = s;
  return OK;
}
cudaError_t cudaStreamEndCapture(cudaStream_t s, cudaGraph_t *g) {
  capturing = 0;
  *g = (cudaGraph_t)(handles += 16);
  return invalid ? status(cudaErrorStreamCaptureInvalidated) : OK;
}
cudaError_t cudaStreamIsCapturing(cudaStream_t s, enum cudaStreamCaptureStatus *c) {
  *c = !capturing || s != captured ? cudaStreamCaptureStatusNone
       : invalid                   ? cudaStreamCaptureStatusInvalidated
                                   : cudaStreamCaptureStatusActive;
  return OK;
}
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t s, enum cudaStreamCaptureStatus *c, unsigned long long *id,
                                     cudaGraph_t *g, const cudaGraphNode_t **d, const cudaGraphEdgeData **e, size_t *n) {
  if (id) *id = 1;
  if (g) *g = (cudaGraph_t)0x10;
  if (n) *n = 0;
  return cudaStreamIsCapturing(s, c);
}
cudaError_t cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode *m) {
  enum cudaStreamCaptureMode before = mode;
  mode = *m;
  *m = before;
  return OK;
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t *e, cudaGraph_t g, unsigned long long flags) {
  *e = (cudaGraphExec_t)(handles += 16);
  return OK;
}
cudaError_t cudaGraphGetNodes(cudaGraph_t g, cudaGraphNode_t *nodes, size_t *n) { *n = 1; return OK; }
cudaError_t cudaGraphLaunch(cudaGraphExec_t e, cudaStream_t s) { count(GRAPH); return OK; }
SUCCEEDS(cudaGraphDestroy, cudaGraph_t g)
SUCCEEDS(cudaGraphExecDestroy, cudaGraphExec_t e)
SUCCEEDS(cudaStreamUpdateCaptureDependencies, cudaStream_t s, cudaGraphNode_t *d, const cudaGraphEdgeData *e, size_t n,
         unsigned flags)
cudaError_t cudaGraphNodeGetDependencies(cudaGraphNode_t n, cudaGraphNode_t *d, cudaGraphEdgeData *e, size_t *count) {
  if (count) *count = 0;
  return OK;
}
cudaError_t cudaUserObjectCreate(cudaUserObject_t *o, void *p, cudaHostFn_t f, unsigned n, unsigned flags) {
  *o = (cudaUserObject_t)(handles += 16);
  return OK;
}
SUCCEEDS(cudaUserObjectRelease, cudaUserObject_t o, unsigned n)
SUCCEEDS(cudaGraphRetainUserObject, cudaGraph_t g, cudaUserObject_t o, unsigned n, unsigned flags)

/* ---- Copies and waits: what tells of a failed kernel, and what a capture refuses ---- */

static cudaError_t copied(void *to, const void *from, size_t size, int async) {
  int of_to = kind_of(to), of_from = kind_of(from);
  count(of_to != DEVICE ? TO_HOST : of_from != DEVICE ? TO_DEVICE : ON_DEVICE);
  if (capturing && (!async || of_to == PAGEABLE || of_from == PAGEABLE)) return refused();
  if (failed && of_to != DEVICE) lost = 1;
  if (!lost) memmove(to, from, size);
  return OK;
}
cudaError_t cudaMemcpy(void *to, const void *from, size_t n, enum cudaMemcpyKind k) { return copied(to, from, n, 0); }
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t n, enum cudaMemcpyKind k, cudaStream_t s) {
  return copied(to, from, n, 1);
}
cudaError_t cudaMemcpyPeerAsync(void *to, int a, const void *from, int b, size_t n, cudaStream_t s) {
  return copied(to, from, n, 1);
}
cudaError_t cudaMemsetAsync(void *p, int value, size_t n, cudaStream_t s) {
  count(KERNEL);
  memset(p, value, n);
  return OK;
}
cudaError_t cudaMemset(void *p, int value, size_t n) { return cudaMemsetAsync(p, value, n, NULL); }
SUCCEEDS(cudaMemcpyToSymbol, const void *y, const void *from, size_t n, size_t at, enum cudaMemcpyKind k)

static cudaError_t waited(void) {
  count(WAIT);
  if (capturing) return refused();
  if (failed) lost = 1;
  return OK;
}
cudaError_t cudaDeviceSynchronize(void) { return waited(); }
cudaError_t cudaEventSynchronize(cudaEvent_t e) { return waited(); }
cudaError_t cudaStreamSynchronize(cudaStream_t s) {
  int of_another = capturing && s != captured && (s || mode == cudaStreamCaptureModeRelaxed);
  if (!of_another) return waited();
  count(WAIT);
  return OK;
}

/* ---- Streams and events ---- */

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int priority) {
  *s = (cudaStream_t)(handles += 16);
  return OK;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags) { return cudaStreamCreateWithPriority(s, flags, 0); }
cudaError_t cudaStreamCreate(cudaStream_t *s) { return cudaStreamCreateWithPriority(s, 0, 0); }
cudaError_t cudaStreamGetPriority(cudaStream_t s, int *priority) { *priority = 0; return OK; }
SUCCEEDS(cudaStreamDestroy, cudaStream_t s)
SUCCEEDS(cudaStreamQuery, cudaStream_t s)
SUCCEEDS(cudaStreamWaitEvent, cudaStream_t s, cudaEvent_t e, unsigned flags)
cudaError_t cudaStreamAddCallback(cudaStream_t s, cudaStreamCallback_t f, void *data, unsigned flags) {
  f(s, cudaSuccess, data);
  return OK;
}
cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t f, void *data) { f(data); return OK; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags) { *e = (cudaEvent_t)(handles += 16); return OK; }
cudaError_t cudaEventCreate(cudaEvent_t *e) { return cudaEventCreateWithFlags(e, 0); }
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t a, cudaEvent_t b) { *ms = 1; return OK; }
SUCCEEDS(cudaEventDestroy, cudaEvent_t e)
SUCCEEDS(cudaEventRecord, cudaEvent_t e, cudaStream_t s)
SUCCEEDS(cudaEventRecordWithFlags, cudaEvent_t e, cudaStream_t s, unsigned flags)
SUCCEEDS(cudaEventQuery, cudaEvent_t e)

/* ---- Kernels: registered when libraries are loaded, launched, and nothing computed ---- */

static void *registered = &registered;
void **__cudaRegisterFatBinary(void *binary) { return &registered; }
void __cudaRegisterFatBinaryEnd(void **handle) {}
void __cudaUnregisterFatBinary(void **handle) {}
void __cudaRegisterFunction(void **handle, const char *f, char *g, const char *name, int limit, void *a, void *b, void *c,
                            void *d, int *e) {}
void __cudaRegisterVar(void **handle, char *v, char *a, const char *name, int e, size_t s, int c, int g) {}

static __thread struct { dim3 grid, block; size_t shared; void *stream; } launch; /* between <<< and >>> */
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, struct CUstream_st *stream) {
  launch.grid = grid;
  launch.block = block;
  launch.shared = shared;
  launch.stream = stream;
  return 0;
}
cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
  *grid = launch.grid;
  *block = launch.block;
  *shared = launch.shared;
  *(void **)stream = launch.stream;
  return cudaSuccess;
}

static cudaError_t launched(int kind) {
  count(kind);
  if (stand_in_asserts) failed = 1;
  stand_in_asserts = 0;
  return OK;
}
void stand_in_product(void) { launched(PRODUCT); } /* called by products.c */
cudaError_t cudaLaunchKernel(const void *f, dim3 g, dim3 b, void **a, size_t s, cudaStream_t t) { return launched(KERNEL); }
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t *c, const void *f, void **a) { return launched(KERNEL); }
cudaError_t __cudaLaunchKernel(cudaKernel_t k, dim3 g, dim3 b, void **a, size_t s, cudaStream_t t) {
  return launched(KERNEL);
}
cudaError_t __cudaGetKernel(cudaKernel_t *k, const void *f) { *k = (cudaKernel_t)f; return cudaSuccess; }
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes *a, const void *f) {
  memset(a, 0, sizeof *a);
  a->maxThreadsPerBlock = 1024;
  a->ptxVersion = a->binaryVersion = 90;
  return OK;
}
SUCCEEDS(cudaFuncSetAttribute, const void *f, enum cudaFuncAttribute a, int value)
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *n, const void *f, int b, size_t s, unsigned g) {
  *n = 2;
  return OK;
}

/* ---- The driver's functions, of driver.c ---- */

static int not_supported(void) { return cudaErrorNotSupported; }
cudaError_t cudaGetDriverEntryPointByVersion(const char *name, void **f, unsigned v, unsigned long long flags,
                                             enum cudaDriverEntryPointQueryResult *found) {
  void *driver = dlopen("libcuda.so.1", RTLD_NOW);
  *f = driver ? dlsym(driver, name) : NULL;
  if (!*f) *f = not_supported;
  if (found) *found = cudaDriverEntryPointSuccess;
  return OK;
}
SUCCEEDS(cudaProfilerStart, void)
SUCCEEDS(cudaProfilerStop, void)
