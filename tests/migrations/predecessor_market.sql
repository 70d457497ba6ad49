-- Its trades and candles, where it has some.
create table trades (
    id bigserial primary key, okx_uid varchar(50), symbol varchar(50), side varchar(10), entry_time timestamp, entry_price float,
    entry_size numeric(20, 8), exit_time timestamp, exit_price float, exit_size numeric(20, 8), realized_pnl numeric(20, 8),
    exit_order_id varchar(100), session_id integer, currency text default 'usdt', funding_fee numeric default -0.5
);
insert into trades (okx_uid, symbol, side, entry_time, entry_price, entry_size, exit_time, exit_price, exit_size, realized_pnl,
                    exit_order_id, session_id) values
    ('587662504768345929', 'BTC-USDT-SWAP', 'long',  '2025-03-05', 97000.5, 1, '2025-03-06', 97500, 1, 12.5, 'a1', 7),
    ('587662504768345929', 'BTC-USDT-SWAP', 'short', '2025-03-05', 97000.5, 1, '2025-03-06', 97500, 1, -3, null, null),
    ('587662504768345929', 'BTC-USDT-SWAP', 'up',    '2025-03-05', 97000.5, 1, '2025-03-06', 97500, 1, 1, 'a3', null),
    ('287662504768345929', 'BTC-USDT-SWAP', 'long',  '2025-03-05', 97000.5, 1, '2025-03-06', 97500, 1, 1, 'a4', null);
create table ohlcv_1h (time timestamptz, symbol text, open float, high float, low float, close float, volume float);
insert into ohlcv_1h values
    ('2025-03-05 10:00Z', 'BTC-USDT-SWAP', 2, 4, 1, 3, 9),
    ('2025-03-05 10:00Z', 'BTC-USDT-SWAP', 2, 5, 1, 3, 9),
    ('2025-03-05 11:00Z', 'BTC-USDT-SWAP', 2, 4, 1, 3, 9),
    ('2025-03-05 11:30Z', 'BTC-USDT-SWAP', 2, 4, 1, 3, 9),
    ('2025-03-05 12:00Z', 'BTC-USDT-SWAP', 2, 'NaN', 1, 3, 9),
    (null,                'BTC-USDT-SWAP', 2, 4, 1, 3, 9);
create table ohlcv_1d (day date, price float);
