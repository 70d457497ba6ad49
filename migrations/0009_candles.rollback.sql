drop table ohlcv_1m, ohlcv_3m, ohlcv_5m, ohlcv_15m, ohlcv_30m, ohlcv_1h, ohlcv_4h, ohlcv_1d;
drop table timeframes;
