#!/bin/sh
# The variants of the study, in the order of the README's list: results/final_cell/explore.sh dataset.root=<CIFAR-10 images>
# [seed=0,1 ...]. What is finished is skipped, what was interrupted goes on; two of them side by side share the work where
# their seeds differ.
search() { python train.py -m experiment=final_cell "$@"; }
each() {
    search "$@"
    # The authors' program against ours
    search model.weight_clip_includes_arch=true "$@"
    search model.weight_clip_includes_arch=true sched.lam=0.24 sched.e_a_value=0.000399 "$@"
    search sched.lam=0.24 sched.e_a_value=0.000399 "$@"
    search lr=lowered "$@"
    # Counter-measures
    search 'space.auxiliary_skip={start: 1, end: 1}' "$@"
    search 'space.auxiliary_skip={start: 1, end: 0}' "$@"
    search 'space.auxiliary_skip={start: 1, end: 1}' space.none=false "$@"
    search space.none=false "$@"
    search model.discretise=without_skips selection=best_discrete "$@"
    search perturbation=random_ball "$@"
    search perturbation=uniform_paths "$@"
    search penalty=beta_decay "$@"
    search penalty=zero_one "$@"
    search stages=darts_pt "$@"
    search sched.interval=2 sched.reheat_below=0.5 "$@"
    search sched.warmup=0.4 "$@"
    search 'space.drop_path={start: 0, end: 0.2}' "$@"
    search 'space.skip_dropout={start: 0.4, end: 0.02, shape: exponential}' "$@"
    search 'space.skip_dropout={start: 0.4, end: 0.4}' "$@"
    search 'space.skip_dropout={start: 0.4, end: 0.02, shape: exponential}' space.none=false "$@"
    search relaxation=dirichlet sched=constant "$@"
    search relaxation=gumbel_hard "$@"
    # Added while it ran
    search 'space.auxiliary_skip={start: 1, end: 1}' sched.lam=0.24 sched.e_a_value=0.000399 "$@"
    search 'space.auxiliary_skip={start: 1, end: 1}' space.none=false sched.warmup=0.4 "$@"
    search method=pcd 'space.auxiliary_skip={start: 1, end: 1}' space.none=false "$@"
    search method=edd_skip sched.late_lambda_mult=1 "$@"
    search method=edd_skip lr=lowered "$@"
    search lr=lowered lr.share=0.015625 "$@"
    search lr=cosine "$@"
    search method=edd_skip space.auxiliary_mean=true "$@"
    search space.N=5 "$@"
    for mean in false true; do
        search method=edd_skip space.auxiliary_mean=$mean space.N=5 "$@"
        search method=darts 'space.auxiliary_skip={start: 1, end: 1}' space.none=false model.discretise=with_auxiliary \
            space.auxiliary_mean=$mean space.N=5 "$@"
    done
    # Beside other methods
    search method=pcd "$@"
    # Size
    search trainer.max_epochs=100 "$@"
    search space.N=2 "$@"
    search space.N=3 "$@"
    search trainer.max_epochs=200 "$@"
    search data.batch_size=256 trainer.max_epochs=200 "$@"
}
each "$@"
