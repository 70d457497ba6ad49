-- One by one, as a hypertable can't be dropped with others.
drop table ohlcv_1m;
drop table ohlcv_3m;
drop table ohlcv_5m;
drop table ohlcv_15m;
drop table ohlcv_30m;
drop table ohlcv_1h;
drop table ohlcv_4h;
drop table ohlcv_1d;
drop table timeframes;
