/* cuBLAS and cuDNN of the stand-in: what PyTorch calls for products of real matrices and vectors, and where it asks
 * whether a layer's weights lie in one piece. No header, the types do not matter: every call succeeds, a product is
 * counted, and nothing is computed. cuDNN's layers themselves are in cudnn.py. */
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

CREATES(cudnnCreate)
SUCCEEDS(cudnnSetStream)
CREATES(cudnnCreateRNNDescriptor)
SUCCEEDS(cudnnSetRNNDescriptor_v8)
SUCCEEDS(cudnnDestroyRNNDescriptor)
CREATES(cudnnCreateDropoutDescriptor)
SUCCEEDS(cudnnSetDropoutDescriptor)
SUCCEEDS(cudnnDestroyDropoutDescriptor)
CREATES(cudnnCreateTensorDescriptor)
SUCCEEDS(cudnnSetTensorNdDescriptor)
SUCCEEDS(cudnnDestroyTensorDescriptor)
int cudnnGetRNNWeightSpaceSize(void *handle, void *layer, unsigned long *bytes) {
  *bytes = 1ul << 40; /* that of no weights: cudnn.py takes them as they are */
  return 0;
}
