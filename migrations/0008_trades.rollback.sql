drop type trade_figures;
drop table trade_orders;
drop table trades;
