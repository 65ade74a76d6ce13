REINDEX INDEX hubs_name_idx;
