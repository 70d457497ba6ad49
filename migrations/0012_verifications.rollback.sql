drop table mirror_verifications;
