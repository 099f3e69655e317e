-- What SQLite can beyond tables: recursion, windows, JSON, full text, spatial indexes, dates, functions.
with recursive
    xaxis(x) as (select -2.0 union all select x + 0.05 from xaxis where x < 1.2),
    yaxis(y) as (select -1.0 union all select y + 0.1 from yaxis where y < 1.0),
    m(iter, cx, cy, x, y) as (
        select 0, x, y, 0.0, 0.0 from xaxis, yaxis
        union all select iter + 1, cx, cy, x * x - y * y + cx, 2.0 * x * y + cy from m where x * x + y * y < 4.0 and iter < 28),
    m2(iter, cx, cy) as (select max(iter), cx, cy from m group by cx, cy),
    a(t) as (select group_concat(substr(' .+*#', 1 + min(iter / 7, 4), 1), '') from m2 group by cy)
select group_concat(rtrim(t), x'0a') from a;
with recursive
    input(sud) as (values('53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79')),
    digits(z, lp) as (values('1', 1) union all select cast(lp + 1 as text), lp + 1 from digits where lp < 9),
    x(s, ind) as (
        select sud, instr(sud, '.') from input
        union all select substr(s, 1, ind - 1) || z || substr(s, ind + 1), instr(substr(s, 1, ind - 1) || z || substr(s, ind + 1), '.')
        from x, digits as z where ind > 0 and not exists (
            select 1 from digits as lp
            where z.z = substr(s, ((ind - 1) / 9) * 9 + lp, 1) or z.z = substr(s, ((ind - 1) % 9) + (lp - 1) * 9 + 1, 1)
                or z.z = substr(s, (((ind - 1) / 3) % 3) * 3 + ((ind - 1) / 27) * 27 + lp + ((lp - 1) / 3) * 6, 1)))
select s from x where ind = 0;
create table sale(day text, shop text, amount integer);
with recursive n(i) as (select 0 union all select i + 1 from n where i < 199)
insert into sale select date('2024-01-01', '+' || (i % 50) || ' days'), 'shop ' || (i % 4), i * 37 % 101 from n;
select day, shop, amount, sum(amount) over (partition by shop order by day, amount rows between 3 preceding and current row),
    rank() over (order by amount desc, day, shop), ntile(7) over (order by day, shop, amount),
    lag(amount, 2, -1) over (partition by shop order by day, amount) from sale order by day, shop, amount limit 25;
select strftime('%Y-%m-%d %H:%M:%f week %W day %j', '2024-02-29 12:34:56.789', '+1 year', 'weekday 1'), julianday('2000-01-01');
select json_group_array(json_object('shop', shop, 'total', total)) from (select shop, sum(amount) as total from sale group by shop);
select key, value, type, path from json_tree('{"a":[1,2.5,{"b":null}],"c":"\u00e9","d":true}');
create virtual table text using fts5(title, body);
insert into text values ('stencil', 'code with holes that are patched'), ('hole', 'where a constant goes'), ('patch', 'fills holes in code');
select title, snippet(text, 1, '[', ']', '..', 4), round(bm25(text), 6) from text where text match 'hole* or code' order by rank, title;
create virtual table box using rtree(id, x0, x1, y0, y1);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 2000)
insert into box select i, i % 50, i % 50 + 1.5, i / 50, i / 50 + 0.5 from n;
select count(*), sum(id) from box where x0 >= 10 and x1 <= 20 and y0 >= 5 and y1 <= 15;
select printf('%d %5.2f %e %g %x %s %q %08.3f', -9223372036854775807, 3.14159, 1e-300, 1e17, 255, 'é', 'it''s', -2.5);
select 9223372036854775807 + 1, -7 / 2, -7 % 3, 1e308 * 10, 0.1 + 0.2, cast('12abc' as integer), cast(1e20 as integer), 5 << 62, ~0, -1 >> 1;
select upper('straße'), length('日本語'), unicode('€'), hex(zeroblob(3)), quote(x'00ff'), trim('  x '), replace('banana', 'an', '<>'), instr('hello', 'l');
select typeof(1), typeof(1.0), typeof('1'), typeof(x'01'), typeof(null), 1 is not null, null is null, 'a' < 'B', 'a' < 'B' collate nocase;
create table tree(id integer primary key, parent integer references tree, name text, check (id <> parent));
insert into tree values (1, null, 'root'), (2, 1, 'a'), (3, 1, 'b'), (4, 2, 'c'), (5, 4, 'd');
with recursive path(id, at) as (select id, name from tree where parent is null union all
    select tree.id, at || '/' || name from tree join path on parent = path.id)
select * from path order by at;
insert into tree values (5, 1, 'again') on conflict (id) do update set name = excluded.name || excluded.parent returning *;
insert into tree values (6, 6, 'its own parent');
