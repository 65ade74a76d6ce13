#!/usr/bin/env bash
# A CI job that takes a feature one rung up, and stops at anything that is not proven.
# Needs: LLMHUB_HUB_URL and LLMHUB_DATABASE_URL (or a profile), and the number of workers behind each hub address.
set -euo pipefail
flag=${1:?usage: ci-rollout.sh FLAG}

# Nothing to step on while the sources disagree (exit 1) or a process cannot be seen (exit 10).
llmhub flags diff --between hub,db

# One rung up, the live hub first, then the record. Exit 10 means that some process is behind: the job fails, a person looks.
llmhub flags rollout "$flag" --next --via hub,db --reason "CI step ${CI_JOB_ID:-by hand}" -o json

# What the job leaves behind, for the summary of the run.
llmhub flags show "$flag" --via db -o markdown
