#!/bin/sh
# What was chosen on seeds 0-3, and what it is compared with, on seeds at which nobody had looked: results/final_cell_confirmed/confirm.sh
# dataset.root=<CIFAR-10 images>. What is finished is skipped, what was interrupted goes on.
confirm() {
    for seeds in 4,5,6,7,8 9,10,11,12,13; do python train.py -m experiment=final_cell seed=$seeds "$@"; done
}
confirm method=random "$@"
confirm method=edd_skip "$@"
confirm "$@"
confirm method=pcd "$@"
for method in pcd darts; do
    confirm method=$method 'space.auxiliary_skip={start: 1, end: 1}' space.none=false model.discretise=with_auxiliary "$@"
done
for method in darts drnas gaea; do confirm method=$method "$@"; done
