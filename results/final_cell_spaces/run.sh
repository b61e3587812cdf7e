#!/bin/sh
# The final cell's methods in S4, S2 and the DARTS space, and the training of what they find, three seeds each:
# results/final_cell_spaces/run.sh <CIFAR-10 training images> <test images> [s4 s2 darts]. What is finished is skipped, what was
# interrupted goes on.
images=$1 test_images=$2
shift 2
[ $# -gt 0 ] || set -- s4 s2 darts
search() { python train.py -m experiment=darts_reduced name=final_cell_spaces dataset.root="$images" seed=0,1,2 "$@"; }
train() {
    python evaluate.py -m space="$1" seed="$2" run="$3" dataset.test_root="$test_images" space.C=8 space.num_cells=5 \
        space.auxiliary_head=false recipe.drop_path=0 data.cutout=0 trainer.max_epochs=5 train=true name=final_cell_spaces_trained \
        baselines="$4"
}
for space in "$@"; do
    for method in edd edd_skip darts; do search space="$space" method=$method; done
    search space="$space" method=darts 'space.auxiliary_skip={start: 1, end: 1}' model.discretise=with_auxiliary
    for seed in 0 1 2; do
        train "$space" $seed "runs/final_cell_spaces/*method=edd_skip,*seed=$seed*space=$space*" true
        for method in edd darts; do
            train "$space" $seed "runs/final_cell_spaces/*method=$method,*seed=$seed*space=$space*" false
        done
    done
done
