drop sequence erasure_count;
