import pytest
import torch

from rnn_parity.tasks.data import load_mnist
from rnn_parity.tasks.task import Data, TaskError

no_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=no_cuda)])
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# That the built-in learns says nothing of ours: it is asked with the slow tests.
@pytest.fixture(params=[pytest.param("builtin", marks=pytest.mark.slow), "manual"])
def implementation(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def mnist_data() -> Data:
    try:
        return load_mnist()
    except TaskError as error:
        pytest.skip(f"no MNIST here: {error}")
