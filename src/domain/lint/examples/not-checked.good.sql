SELECT ((1));
