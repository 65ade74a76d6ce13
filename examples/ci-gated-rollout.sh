#!/usr/bin/env bash
# A CI job that takes a feature up its whole plan and leaves when it is there, or has come back by itself.
# Needs: LLMHUB_HUB_URL and LLMHUB_DATABASE_URL (or a profile with both and its `workers`), and APPROVED_BY: who lets it begin.
set -euo pipefail
flag=${1:?usage: ci-gated-rollout.sh FLAG PLAN}
plan=${2:?usage: ci-gated-rollout.sh FLAG PLAN}

# Every line of the plan, and one question to every source of its metrics: what is wrong fails here, with nothing written.
llmhub rollout plan "$flag" --plan "$plan"

# Rung 0 is for the white list alone, and only a person leaves it. Exit 1: it stands there and waits.
llmhub rollout run "$flag" --plan "$plan" --via hub,db --once -y || [ $? = 1 ]
llmhub rollout promote "$flag" --reason "approved by ${APPROVED_BY:?who approved it}"

# Up to the end of the plan, or back: 0 is everybody, 8 is rolled back and proven, 10 and 11 need a person now.
# A job that was cut off is started again: it goes on where the last one died.
status=0
llmhub rollout run "$flag" --plan "$plan" --via hub,db -y --events || status=$?

# What the job leaves behind, for the summary of the run; its exit status speaks of the state, the job's of the run.
llmhub rollout status "$flag" -o markdown || true
exit "$status"
