-- What a login without any rights in dt tries by functions of its own, which fit better than
-- PostgreSQL's. Each of them says with whose rights it ran; none may be heard.
\set SHOW_CONTEXT never
create role mallory login;
grant create on schema public to mallory;
select format('grant create on database %I to mallory', current_database()) \gexec

\c - mallory
create function public.caught() returns text language plpgsql as $$
begin
  raise exception 'mallory runs as %', current_user;
end $$;
create schema trap;
grant usage on schema trap to public;
-- In both schemas of the victims' paths: better matches, and the same names.
select format('create function %s.%s language sql as ''select public.caught()::%s''', s.name,
              f.head, f.kind)
from (values ('public'), ('trap')) s(name),
     (values ('convert_from(bytea, text) returns text', 'text'),
             ('encode(bytea, text) returns text', 'text'),
             ('hashtextextended(text, int) returns bigint', 'bigint'),
             ('set_byte(bytea, int, bigint) returns bytea', 'bytea'),
             ('get_byte(bytea, bigint) returns int', 'int'),
             ('convert_to(text, text) returns bytea', 'bytea'),
             ('length(text, text) returns int', 'int'),
             ('_now() returns timestamptz', 'timestamptz'),
             ('__astext(bytea) returns text', 'text'),
             ('__pbfield(bytea, int) returns bytea', 'bytea'),
             ('lower(varchar) returns text', 'text')) f(head, kind) \gexec

-- A superuser who has all that on the path installs again, reads, and starts something.
\c - postgres
set search_path = trap, public, dt;
\set ECHO none
\i ../../../sql/install.sql
\set ON_ERROR_STOP off
\set ECHO all
set application_name = 'shop';
select InstanceID
from dt.CreateInstance('Ship', InputText => '"Lima"', InstanceID => 'bait', Version => '1.0');
select dt.RaiseEvent('go', 'bait', '"now"');
select InstanceID, Version, InputText, CustomStatusText from dt.vInstances
where InstanceID = 'bait';
select count(*) >= 0 as history from dt.vHistory;
select count(*) > 0 as waits from dt.vWaitingWork where Version = '1.0';
select count(*) >= 0 as single from dt.QuerySingleOrchestration('bait');
select count(*) >= 0 as events from dt.GetInstanceHistory('bait', true);
select dt.TerminateInstance('bait');

-- A schema that mallory has prepared is refused: her own, and one in which she may or could make
-- something.
\c - mallory
create schema hers;
\c - postgres
\set schema hers
\set ECHO none
\i ../../../sql/install.sql
\set ON_ERROR_STOP off
\set ECHO all
rollback;
create schema open;
grant create on schema open to mallory;
\set schema open
\set ECHO none
\i ../../../sql/install.sql
\set ON_ERROR_STOP off
\set ECHO all
rollback;
\c - mallory
create function open.lower(varchar) returns text language sql as 'select public.caught()';
\c - postgres
revoke create on schema open from mallory;
\set schema open
\set ECHO none
\i ../../../sql/install.sql
\set ON_ERROR_STOP off
\set ECHO all
rollback;

-- So is one in which everybody may.
create schema everybodys;
grant create on schema everybodys to public;
\set schema everybodys
\set ECHO none
\i ../../../sql/install.sql
\set ON_ERROR_STOP off
\set ECHO all
rollback;

-- Names that would make one role of two.
\set schema a_schema_name_with_more_bytes_than_the_names_of_roles_allow
\set ECHO none
\i ../../../sql/install.sql
\set ON_ERROR_STOP off
\set ECHO all
rollback;

-- Roles are the cluster's.
drop schema hers, open, everybodys, trap cascade;
drop owned by mallory cascade;
drop role mallory;
