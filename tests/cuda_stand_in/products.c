/* cuBLAS and cuDNN of the stand-in: what PyTorch calls for products of real matrices and vectors, and where it asks
 * how a layer's weights lie. No header, the types do not matter: every call succeeds, a product is counted, and nothing is
 * computed. cuDNN's layers themselves are in cudnn.py. */
#include <stdlib.h>
#include <string.h>

void stand_in_product(void);

#define SUCCEEDS(name) int name(void) { return 0; }
#define GIVES(name, value) int name(void *handle, int *v) { *v = value; return 0; }
#define CREATES(name) int name(void **handle) { static int made; *handle = &made; return 0; }
#define PRODUCT(name) int name(void) { stand_in_product(); return 0; }

CREATES(cublasCreate_v2)
SUCCEEDS(cublasDestroy_v2)
SUCCEEDS(cublasSetStream_v2)
SUCCEEDS(cublasSetWorkspace_v2)
SUCCEEDS(cublasSetMathMode)
SUCCEEDS(cublasSetPointerMode_v2)
SUCCEEDS(cublasSetSmCountTarget)
GIVES(cublasGetMathMode, 0)
GIVES(cublasGetPointerMode_v2, 0)

PRODUCT(cublasSgemm_v2)
PRODUCT(cublasDgemm_v2)
PRODUCT(cublasSgemmEx)
PRODUCT(cublasGemmEx)
PRODUCT(cublasSgemmStridedBatched)
PRODUCT(cublasDgemmStridedBatched)
PRODUCT(cublasGemmStridedBatchedEx)
PRODUCT(cublasSgemv_v2)
PRODUCT(cublasDgemv_v2)
PRODUCT(cublasSdot_v2)
PRODUCT(cublasDdot_v2)
PRODUCT(cublasDotEx)

CREATES(cublasLtMatmulDescCreate)
CREATES(cublasLtMatmulPreferenceCreate)
CREATES(cublasLtMatrixLayoutCreate)
SUCCEEDS(cublasLtMatmulDescDestroy)
SUCCEEDS(cublasLtMatmulDescSetAttribute)
SUCCEEDS(cublasLtMatmulPreferenceDestroy)
SUCCEEDS(cublasLtMatmulPreferenceSetAttribute)
SUCCEEDS(cublasLtMatrixLayoutDestroy)
SUCCEEDS(cublasLtMatrixLayoutSetAttribute)
PRODUCT(cublasLtMatmul)
int cublasLtMatmulAlgoGetHeuristic(void *handle, void *d, void *a, void *b, void *c, void *e, void *p, int n, void *result,
                                   int *found) {
  memset(result, 0, 64);
  *found = 1;
  return 0;
}

/* ---- cuDNN: in what order a layer's weights lie in one piece of memory, here in that of torch.nn's parameters ---- */

CREATES(cudnnCreate)
SUCCEEDS(cudnnSetStream)
CREATES(cudnnCreateDropoutDescriptor)
SUCCEEDS(cudnnSetDropoutDescriptor)
SUCCEEDS(cudnnDestroyDropoutDescriptor)

typedef struct { int dims[3]; } Matrix;
int cudnnCreateTensorDescriptor(Matrix **m) { *m = calloc(1, sizeof **m); return 0; }
int cudnnDestroyTensorDescriptor(Matrix *m) { free(m); return 0; }
SUCCEEDS(cudnnSetTensorNdDescriptor)
int cudnnGetTensorNdDescriptor(Matrix *m, int room, int *type, int *n, int *dims, int *strides) {
  *n = 3;
  memcpy(dims, m->dims, sizeof m->dims);
  return 0;
}

typedef struct { int gates, directions, bytes, input, hidden, output, projected, layers; } Layer;
int cudnnCreateRNNDescriptor(Layer **l) { *l = calloc(1, sizeof **l); return 0; }
int cudnnDestroyRNNDescriptor(Layer *l) { free(l); return 0; }
int cudnnSetRNNDescriptor_v8(Layer *l, int algorithm, int mode, int bias, int direction, int input_mode, int type,
                             int precision, int math, int input, int hidden, int output, int layers, void *d, unsigned f) {
  static const int gates[] = {1, 1, 4, 3}; /* relu, tanh, LSTM, GRU */
  int bytes = type == 0 ? 4 : type == 1 ? 8 : 2;
  *l = (Layer){gates[mode], direction ? 2 : 1, bytes, input, hidden, output, output != hidden, layers};
  return 0;
}
static long columns(Layer *l, int row, int hh) {
  return hh ? l->output : row < l->directions ? l->input : l->directions * l->output;
}
static long size_of(Layer *l, int row) { /* of one layer in one direction, in elements */
  long rows = (long)l->gates * l->hidden;
  return rows * (columns(l, row, 0) + columns(l, row, 1) + 2) + (l->projected ? (long)l->output * l->hidden : 0);
}
static long begin_of(Layer *l, int row) {
  long at = 0;
  for (int k = 0; k < row; k++) at += size_of(l, k);
  return at;
}
int cudnnGetRNNWeightSpaceSize(void *handle, Layer *l, unsigned long *bytes) {
  *bytes = begin_of(l, l->layers * l->directions) * l->bytes;
  return 0;
}
int cudnnGetRNNWeightParams(void *handle, Layer *l, int row, unsigned long room, char *weights, int gate, Matrix *matrix,
                            void **at_matrix, Matrix *bias, void **at_bias) {
  int hh = gate >= l->gates, projection = gate == 2 * l->gates; /* gates of W_ih, of W_hh, and then W_hr */
  long gates_ih = l->gates * l->hidden * columns(l, row, 0), gates_hh = l->gates * l->hidden * columns(l, row, 1);
  long rows = projection ? l->output : l->hidden, width = projection ? l->hidden : columns(l, row, hh);
  long matrices = begin_of(l, row), biases = matrices + gates_ih + gates_hh;
  long of_matrix = projection ? biases + 2 * l->gates * l->hidden
                   : hh       ? matrices + gates_ih + (gate - l->gates) * rows * width
                              : matrices + gate * rows * width;
  if (matrix) {
    *matrix = (Matrix){{1, rows, width}};
    *at_matrix = weights + of_matrix * l->bytes;
  }
  if (bias) {
    *bias = (Matrix){{1, l->hidden, 1}};
    *at_bias = projection ? NULL : weights + (biases + gate * l->hidden) * l->bytes;
  }
  return 0;
}
