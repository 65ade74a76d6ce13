SELECT count(*) INTO total FROM hubs;
