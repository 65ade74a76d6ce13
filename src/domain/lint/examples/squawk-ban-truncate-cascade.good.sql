TRUNCATE hubs, spokes;
