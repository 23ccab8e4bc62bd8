#!/bin/sh
# Every method that the pocket model can host, on the same items: about ten minutes on two cores.
#     sh studies/methods/run.sh [FOLDER] [ITEMS]
set -eu
folder=${1:-studies/methods/run}
items=${2:-200}
set -- \
    none mask:bidirectional mask:ring mask:ids \
    bapa bapa+mask:bidirectional bapa_cross bapa_far v2pe \
    cca cca:mask=false mca mca:mask=false pype:jump=1 pype:jump=1,mask=false \
    shuffle reverse mrope_on_1d bapa:layers=0-1 \
    scalingvis:alpha=0.5 scalingvis:alpha=1.5 adaptvis temperature:alpha=0.5 temperature:alpha=1.5 \
    shift:amount=-1 shift:amount=1 uac \
    normalize normalize:mode=text_mean normalize:mode=global agci multilayer:layers=6 \
    pool:side=3 pool:side=1 pool_broadcast:side=3 pool_broadcast:side=1 permute drop:fraction=0.25
for spec in "$@"; do
    shift
    set -- "$@" --intervention "$spec"
done
wheresight probe "$@" --items "$items" --out "$folder"
python "$(dirname "$0")/table.py" "$folder"  # the tables of README.md
