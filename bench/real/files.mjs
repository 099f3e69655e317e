// Files, folders, clocks and waiting, through QuickJS's own modules: what WASI has to offer.
import * as std from 'qjs:std';
import * as os from 'qjs:os';

const say = (...values) => console.log(values.map((value) => JSON.stringify(value)).join(' '));
// Numbers of errors are WASI's.
say('mkdir', os.mkdir('folder'), os.mkdir('folder') < 0, os.mkdir('absent/folder') < 0);
const file = std.open('folder/a', 'w+');
for (let line = 0; line < 1000; line++) file.puts(`line ${line}\n`);
file.flush();
say(
    'tell',
    file.tell(),
    file.seek(5, std.SEEK_SET),
    file.getline(),
    file.seek(-9, std.SEEK_END),
    file.getline(),
    file.getline(),
    file.eof(),
);
file.close();
say('load', std.loadFile('folder/a').length, std.loadFile('absent'));
const fd = os.open('folder/b', os.O_RDWR | os.O_CREAT | os.O_EXCL),
    bytes = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);
say(
    'write',
    os.write(fd, bytes.buffer, 2, 4),
    os.seek(fd, 1, std.SEEK_SET),
    os.read(fd, bytes.buffer, 0, 8),
    [...bytes],
    os.close(fd),
    os.close(fd) < 0,
);
say('again', os.open('folder/b', os.O_RDWR | os.O_CREAT | os.O_EXCL) < 0, os.open('absent', os.O_RDONLY) < 0);
const log = std.open('folder/a', 'a');
log.puts('appended');
log.close();
say('append', std.loadFile('folder/a').slice(-18));
say('rename', os.rename('folder/b', 'folder/c'), os.rename('folder/b', 'folder/d') < 0);
// Node's WASI leaves out the folder itself and the one around it.
const list = (folder) =>
    os
        .readdir(folder)[0]
        .filter((name) => !/^\.+$/.test(name))
        .sort();
say('list', list('folder'), os.readdir('absent')[1] !== 0);
const [stat] = os.stat('folder/a'),
    [folder] = os.stat('folder');
say(
    'stat',
    stat.size,
    (stat.mode & os.S_IFMT) === os.S_IFREG,
    (folder.mode & os.S_IFMT) === os.S_IFDIR,
    os.stat('absent')[1] !== 0,
);
say('times', os.utimes('folder/c', 1e12, 1.5e12), os.stat('folder/c')[0].mtime);
say('outside', os.open('../outside', os.O_RDONLY) < 0);
say('remove', os.remove('folder/c'), os.remove('folder/c') < 0, os.remove('folder') < 0);
for (let at = 0; at < 300; at++) os.mkdir(`folder/${'name'.repeat(20)}${at}`);
say('many', list('folder').length, new Set(list('folder')).size);
const begin = os.now();
os.setTimeout(() => {
    say('waited', os.now() - begin >= 20, Date.now() > 1.7e12, std.getenv('HOME') ?? null, scriptArgs);
    os.setTimeout(() => std.exit(3), 1);
}, 20);
