-- The logins of the golden tests, made once in the cluster (as the roles of the schema "dt" are).
-- Which of them is bound to which hub is a matter of each database: bindings.sql.
create role app login in role dt_runtime;
create role viewer login in role dt_reader;
create role manager login in role dt_admin;
create role bank_app login in role dt_runtime;
create role bank_viewer login in role dt_reader;
create role bank_manager login in role dt_admin;
create role chief login in role dt_admin;
create role chief_helper login in role dt_runtime;
create role a_login_with_a_name_that_is_longer_than_fifty_characters login in role dt_reader;
create role service login in role dt_daemon;
create role stranger login;
