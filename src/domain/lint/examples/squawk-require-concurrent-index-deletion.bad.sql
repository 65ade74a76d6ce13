DROP INDEX hubs_name_idx;
