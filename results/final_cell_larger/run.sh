#!/bin/sh
# One size up, the two best and EDD: results/final_cell_larger/run.sh <CIFAR-10 training images> <searches at a time>
# [trainer.graphs=true ...]. What is finished or has diverged is skipped, what was interrupted goes on.
images=$1 at_once=$2
shift 2
for seed in 4 5 6; do
    echo "method=edd_skip,seed=$seed" method=edd_skip seed=$seed
    echo "method=darts,seed=$seed,space.auxiliary_skip" method=darts seed=$seed \
        "'space.auxiliary_skip={start: 1, end: 1}'" space.none=false model.discretise=with_auxiliary
    echo "method=edd,seed=$seed" method=edd seed=$seed
done | while read -r name overrides; do
    folder=runs/final_cell_larger/$name
    [ -e "$folder/report.json" ] || [ -e "$folder/failed.txt" ] || echo "\"run_dir='$folder'\" $overrides"
done | xargs -P "$at_once" -L 1 python train.py experiment=final_cell name=final_cell_larger dataset.root="$images" space.C=16 \
    space.N=5 dataset.image_size=32 data.train_images=2500 data.valid_images=2500 "$@"
