complete --keep-order --exclusive --command llmhub --arguments "(COMPLETE=fish llmhub -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
