#!/usr/bin/env bash
# One row for each objective: the paper's towers with its six objectives, and ours with one term more each row.
#
#   training/ablation.sh OUT [ROW...]      all rows if none is named; a row that is done is left alone
#
# DEVICE (cpu, cuda), THREADS and LOADERS (a row), JOBS (rows at once), STEPS (ours), PAPER_STEPS, SEED, DATA, SYNTH, CACHE, KWS_TRAIN. Runs `fit`, `export`,
# `calibrate` (ours) and `eval words`; what they print lies in OUT/ROW. Prints the table as it stands.
set -euo pipefail
out=${1:?"a folder"}
shift
here=$(cd "$(dirname "$0")" && pwd)
export out here DEVICE=${DEVICE:-cpu} THREADS=${THREADS:-2} LOADERS=${LOADERS:-1} STEPS=${STEPS:-2000} PAPER_STEPS=${PAPER_STEPS:-1480} SEED=${SEED:-1}
# glibc would give the large tensors of every step back to the system and fetch them again: half of the time of an LSTM.
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=-1 MALLOC_TOP_PAD_=268435456
export DATA=${DATA:-../shared/data} CACHE=${CACHE:-runs/cache} SYNTH=${SYNTH:-runs/synth} KWS_TRAIN=${KWS_TRAIN:-target/release/kws-train}
rows=("$@")
if [ ${#rows[@]} -eq 0 ]; then
    rows=(paper-clap paper-dwd paper-clap+dwd paper-siamese paper-contrastive paper-multiview)
    rows+=(clap dwd clap+dwd +ctc +mutants +windows +bce +mined +muon)
fi

# Prints the configuration of a row.
config() {
    if [[ $1 == paper-* ]]; then
        sed -e "s/^objective = .*/objective = \"${1#paper-}\"/" -e "s/^steps = .*/steps = $PAPER_STEPS/" \
            -e "s/^loaders = .*/loaders = $LOADERS/" -e "1i data = \"$DATA\"\ncache = \"$CACHE\"\nseed = $SEED" "$here/configs/jmcl.toml"
        return
    fi
    local clap=1.0 dwd=0.5 ctc=0.0 bce=0.0 mutants=0 wrong=0.0 background=0 mined=0 muon=
    case $1 in
        clap) dwd=0.0 ;;
        dwd) clap=0.0 ;;
        clap+dwd) ;;
        +ctc) ctc=0.5 ;;
        +mutants) ctc=0.5 mutants=2 ;;
        +windows) ctc=0.5 mutants=2 wrong=0.5 background=8 ;;
        +bce) ctc=0.5 mutants=2 wrong=0.5 background=8 bce=0.5 ;;
        +mined) ctc=0.5 mutants=2 wrong=0.5 background=8 bce=0.5 mined=192 ;;
        +muon) ctc=0.5 mutants=2 wrong=0.5 background=8 bce=0.5 mined=192 muon='"block"' ;;
        *) echo "no row is called $1" >&2 && return 1 ;;
    esac
    local first=0
    [ "$ctc" = 0.0 ] || first=200
    cat <<EOF
data = "$DATA"
cache = "$CACHE"
extra = ["$SYNTH"]
seed = $SEED
steps = $STEPS
loaders = $LOADERS
[batch]
themes = 16
mutants = $mutants
wrong = $wrong
background = $background
[loss]
clap = $clap
dwd = $dwd
ctc = $ctc
bce = $bce
mined = $mined
ctc_only_steps = $first
[optim]
muon = [$muon]
EOF
}

row() {
    local folder=$out/$1
    [ ! -e "$folder/words.log" ] || return 0
    mkdir -p "$folder/bundle"
    config "$1" >"$folder/row.toml"
    "$KWS_TRAIN" fit --config "$folder/row.toml" --out "$folder" --device "$DEVICE" --threads "$THREADS" 2>"$folder/fit.log"
    cp "$here"/../models/default/{g2p.onnx,lexicon.bin} "$folder/bundle/"
    "$KWS_TRAIN" export --run "$folder" --out "$folder/bundle" --name "$1" 2>"$folder/export.log"
    if [[ $1 != paper-* ]]; then
        "$KWS_TRAIN" calibrate "$DATA/librispeech-dev" --model "$folder/bundle" --threads "$THREADS" 2>"$folder/calibrate.log" ||
            echo "$1: not calibrated" >&2
    fi
    # What a row has not heard is unknown to it: the paper's rows hear no synthetic speech.
    local heard=()
    [[ $1 == paper-* ]] || heard=(--extra "$SYNTH")
    "$KWS_TRAIN" eval words --model "$folder/bundle" --data "$DATA" "${heard[@]}" --backend ort --out "$folder/words" >"$folder/words.partial" 2>&1
    mv "$folder/words.partial" "$folder/words.log"
}
export -f row config
failed=0
printf '%s\n' "${rows[@]}" | xargs -P "${JOBS:-1}" -I{} bash -euo pipefail -c 'row "$1"' _ {} || failed=1
for name in "${rows[@]}"; do
    echo "== $name"
    cat "$out/$name/words.log" 2>/dev/null || echo "failed; see $out/$name"
done
exit $failed
