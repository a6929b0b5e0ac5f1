#!/bin/sh
# Everything that a GPU alone can tell, in two calls of ten minutes at most: run from the project's root, in an environment
# with the project and its extras (see CONTRIBUTING.md). No network is needed. A call goes on where a part fails, and says
# at the end what to send back.
#
#     sh tests/cuda_smoke.sh right [FOLDER]    whether results are right
#     sh tests/cuda_smoke.sh fast [FOLDER]     how fast they are, beside cuDNN
#
# Results go to FOLDER, by default cuda_right or cuda_fast.

case $1 in
right | fast) ;;
*)
    echo "usage: sh tests/cuda_smoke.sh right|fast [FOLDER]" >&2
    exit 4
    ;;
esac
out=${2:-cuda_$1}
mkdir -p "$out"
python -c 'import sys, torch; sys.exit(not torch.cuda.is_available() or "stand-in" in torch.cuda.get_device_name())' || {
    echo "no CUDA device: torch.cuda.is_available() is False, or it is the stand-in" >&2
    exit 4
}
export OMP_NUM_THREADS=2
failed=""

part() { # NAME SECONDS COMMAND...: run a part for so long at most, print its end, keep all it says
    name=$1 seconds=$2
    shift 2
    echo "== $name"
    timeout -s INT -k 15 "$seconds" "$@" >"$out/$name.txt" 2>&1
    status=$?
    tail -n 6 "$out/$name.txt"
    [ $status -eq 0 ] || failed="$failed $name($status)"
}

pytest="python -m pytest -p no:cacheprovider -q -r fE"
python -c "import xdist" 2>/dev/null && several="-n 4" || several=""
conformance="$pytest $several --pyargs rnn_parity.tests.conformance --parity-device cuda"
layers="" triton=""
for kind in rnn gru lstm; do
    class=$(echo $kind | tr '[:lower:]' '[:upper:]')
    layers="$layers --parity-implementation $kind=rnn_parity.manual:$class"
    layers="$layers --parity-implementation $kind=rnn_parity.manual.fused:$class --parity-implementation $kind=torch.nn:$class"
    layers="$layers --parity-implementation $kind=rnn_parity.manual.fused.on_operations:$class"
    triton="$triton --parity-implementation $kind=rnn_parity.manual.fused.on_triton:$class"
done

nvidia-smi >"$out/nvidia-smi.txt" 2>&1
python -m torch.utils.collect_env >"$out/environment.txt" 2>&1
if [ "$1" = right ]; then
    part triton 120 $conformance $triton --parity-examples 2 --parity-json "$out/triton.json"
    part kernels 150 $pytest $several --pyargs rnn_parity.tests.layers.in_interpreter
    part conformance 150 $conformance $layers --parity-examples 2 --parity-json "$out/verdicts.json"
    part units 60 $pytest --pyargs rnn_parity.tests.test_parity \
        rnn_parity.tests.unit.test_bench rnn_parity.tests.unit.test_surface -k "cuda or gpu"
    part training 40 python -m rnn_parity.tasks.mnist --device cuda --data digits --epochs 5 \
        --implementation builtin manual fused --out "$out/mnist"
else
    part compiling 120 python -m rnn_parity.bench.kernels
    part bench 420 env OMP_NUM_THREADS="$(nproc)" python -m rnn_parity.bench.compare --device cuda --seconds 120 --steps 64 256 1024 \
        --arms manual operations fused triton --out "$out/bench"
fi

tar -czf "$out.tar.gz" "$out"
echo
[ -z "$failed" ] && echo "All parts passed." || echo "Failed, by exit status (124: out of time):$failed"
echo "Please send back $out.tar.gz: it holds what each part printed, the verdicts, the timings, and the card's name."
[ -z "$failed" ]
