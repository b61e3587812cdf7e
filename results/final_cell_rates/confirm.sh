#!/bin/sh
# What was chosen on seeds 0-3 after the first confirmation, on the same ten other seeds: results/final_cell_rates/confirm.sh
# dataset.root=<CIFAR-10 images>. What is finished is skipped, what was interrupted goes on.
confirm() {
    for seeds in 4,5,6,7,8 9,10,11,12,13; do python train.py -m experiment=final_cell seed=$seeds "$@"; done
}
confirm lr=lowered "$@"
confirm 'space.skip_dropout={start: 0.4, end: 0.02, shape: exponential}' "$@"
