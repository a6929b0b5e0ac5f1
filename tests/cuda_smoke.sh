#!/bin/sh
# Everything that a GPU alone can tell, in ten minutes: run from the project's root, in an environment with the project
# and its extras (see CONTRIBUTING.md). It goes on where a part fails, and says at the end what to send back.
#
#     sh tests/cuda_smoke.sh [FOLDER]     results go to FOLDER, by default cuda_smoke

out=${1:-cuda_smoke}
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
    timeout "$seconds" "$@" >"$out/$name.txt" 2>&1
    status=$?
    tail -n 6 "$out/$name.txt"
    [ $status -eq 0 ] || failed="$failed $name($status)"
}

conformance="python -m pytest -p no:cacheprovider -q -r fE --pyargs rnn_parity.tests.conformance --parity-device cuda"
python -c "import xdist" 2>/dev/null && conformance="$conformance -n 4"
layers="" triton=""
for kind in rnn gru lstm; do
    class=$(echo $kind | tr '[:lower:]' '[:upper:]')
    layers="$layers --parity-implementation $kind=rnn_parity.manual:$class"
    layers="$layers --parity-implementation $kind=rnn_parity.manual.fused:$class --parity-implementation $kind=torch.nn:$class"
    triton="$triton --parity-implementation $kind=rnn_parity.manual.fused.on_triton:$class"
done

nvidia-smi >"$out/nvidia-smi.txt" 2>&1
python -m torch.utils.collect_env >"$out/environment.txt" 2>&1
part conformance 150 $conformance $layers --parity-examples 2 --parity-json "$out/verdicts.json"
part triton 90 $conformance $triton --parity-examples 2 --parity-json "$out/triton.json"
part units 60 python -m pytest -p no:cacheprovider -q -r fE --pyargs rnn_parity.tests.test_parity \
    rnn_parity.tests.unit.test_bench rnn_parity.tests.unit.test_surface -k "cuda or gpu"
part training 40 python -m rnn_parity.tasks.mnist --device cuda --data digits --epochs 5 --implementation builtin manual fused \
    --out "$out/mnist"
part bench 260 python -m rnn_parity.bench.compare --device cuda --seconds 60 --steps 64 256 1024 --out "$out/bench"

tar -czf "$out.tar.gz" "$out"
echo
[ -z "$failed" ] && echo "All parts passed." || echo "Failed, by exit status (124: out of time):$failed"
echo "Please send back $out.tar.gz: it holds what each part printed, the verdicts, the timings, and the card's name."
[ -z "$failed" ]
