DROP TABLE feature_flag_events;
DROP TABLE feature_flags;
