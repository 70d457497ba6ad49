-- The versions stay: they are history.
select;
