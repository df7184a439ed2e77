-- Run before everything else, in the schema that is first in search_path: refuses a database and a
-- schema into which nothing may be installed safely. What is run after this trusts all that lies in
-- the schema.
do $$
declare
  -- Roles are named after the schema, and PostgreSQL cuts names to 63 bytes.
  c_name_bytes_max constant int := 63 - length('_runtime');
  v_schema text := current_schema();
  v_schema_id oid;
  v_owner oid;
  v_trusted oid[];
  v_object record;
begin
  if current_setting('server_encoding') <> 'UTF8' then
    raise exception 'database "%" has the encoding %, but UTF8 is needed', current_database(),
      current_setting('server_encoding')
      using errcode = '22023',
        hint = 'Make another one: create database NAME template template0 encoding ''UTF8''.';
  end if;
  if octet_length(v_schema) > c_name_bytes_max then
    raise exception 'the schema name "%" has % bytes, the limit is %', v_schema,
      octet_length(v_schema),
      c_name_bytes_max
      using errcode = '42622',
        hint = 'Choose a shorter one: the names of the roles begin with it.';
  end if;

  select n.oid, n.nspowner into v_schema_id, v_owner from pg_namespace n where n.nspname = v_schema;
  if v_owner <> current_user::regrole
     and not (select r.rolsuper from pg_roles r where r.oid = v_owner)
     and ((select r.rolsuper from pg_roles r where r.rolname = current_user)
          or not pg_has_role(v_owner, 'usage')) then
    raise exception 'schema "%" belongs to "%", who could change what "%" installs there', v_schema,
      pg_get_userbyid(v_owner), current_user
      using errcode = '42501',
        hint = format('Install as that role ("set role %I"), or give the schema to yours first '
                      '("alter schema %I owner to %I"), or choose another schema.',
                      pg_get_userbyid(v_owner), v_schema, current_user);
  end if;

  -- What others may make, or have made, here would be found before or instead of what is meant.
  v_trusted := array[v_owner, current_user::regrole::oid,
                     coalesce(to_regrole(quote_ident(v_schema || '_owner'))::oid, v_owner)];
  select case when a.grantee = 0 then 'public' else pg_get_userbyid(a.grantee) end as role
    into v_object
    from pg_namespace n cross join aclexplode(n.nspacl) a
    where n.oid = v_schema_id and a.privilege_type = 'CREATE' and a.grantee <> all (v_trusted)
    order by 1 limit 1;
  if found then
    raise exception '"%" may create objects in schema "%"', v_object.role, v_schema
      using errcode = '42501',
        hint = format('Take that away ("revoke create on schema %I from %I"), or choose another '
                      'schema.', v_schema, v_object.role);
  end if;
  select p.oid::regprocedure as name, pg_get_userbyid(p.proowner) as role into v_object
    from pg_proc p
    where p.pronamespace = v_schema_id and p.proowner <> all (v_trusted)
      and not (select r.rolsuper from pg_roles r where r.oid = p.proowner)
    order by 1 limit 1;
  if found then
    raise exception 'function % in schema "%" belongs to "%"', v_object.name, v_schema,
      v_object.role
      using errcode = '42501',
        hint = 'Look at it, and drop it or give it to the owner of the schema.';
  end if;
end $$;
