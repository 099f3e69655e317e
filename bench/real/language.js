// What the language has, one line each: the same under every engine.
const say = (...values) => console.log(values.map(String).join(' '));
const show = (value) => JSON.stringify(value, (_, v) => (typeof v === 'bigint' ? v + 'n' : v));

class Point {
    #x;
    static made = 0;
    constructor(x, y) {
        this.#x = x;
        this.y = y;
        Point.made++;
    }
    get x() {
        return this.#x;
    }
    static {
        this.unit = new Point(1, 1);
    }
}
class Point3 extends Point {
    constructor(x, y, z) {
        super(x, y);
        this.z = z;
    }
    get length() {
        return Math.sqrt(this.x ** 2 + this.y ** 2 + this.z ** 2);
    }
}
say('classes', new Point3(2, 3, 6).length, Point.made, Point.unit.x, new Point3(1, 2, 3) instanceof Point);

function* fibonacci() {
    let [a, b] = [0n, 1n];
    for (;;) {
        yield a;
        [a, b] = [b, a + b];
    }
}
const numbers = fibonacci();
let last;
for (let at = 0; at < 300; at++) last = numbers.next().value;
say('generators', last, last % 1000000007n, BigInt.asIntN(64, last), (-last >> 70n).toString(16));

const { a = 1, b: { c, ...rest } = {}, ...others } = { b: { c: 2, d: 3, e: 4 }, f: 5 };
say('destructuring', a, c, show(rest), show(others), [...'a😀b'].length, show([1, , 3].concat([[4]]).flat()));

const seen = [];
const proxy = new Proxy(
    {},
    {
        get: (_, key) => (seen.push('get ' + String(key)), 7),
        has: (_, key) => (seen.push('has ' + key), true),
        deleteProperty: (_, key) => !!seen.push('delete ' + key),
    },
);
say(
    'proxies',
    proxy.a + proxy.b,
    'c' in proxy,
    delete proxy.d,
    show(seen),
    Reflect.ownKeys({ b: 1, 2: 1, a: 1, 1: 1, [Symbol.iterator]: 1 }).map(String),
);

say(
    'regexes',
    '2024-02-29'.replace(/(?<y>\d+)-(?<m>\d+)-(?<d>\d+)/u, '$<d>.$<m>.$<y>'),
    show('aBbBc'.match(/(?<=a)b+(?=c)/i)),
    show([...'x1y22z333'.matchAll(/([a-z])(\d+)/g)].map((m) => m.slice(1))),
    /^\p{Lu}\p{Ll}+$/u.test('Ärger'),
    'a.b*c'.split(/[.*]/),
    /(a+)+b/.test('a'.repeat(20)),
    'aaa'.lastIndexOf('a', 1),
    /\u{1F600}/u.exec('x😀').index,
);

say(
    'numbers',
    0.1 + 0.2,
    1e21,
    1 / 3,
    -0 === 0,
    Object.is(-0, 0),
    (25).toString(36),
    (0.5).toString(2),
    (1234.5678).toFixed(2),
    (0.000001234).toPrecision(3),
    (255).toString(16),
    Number('0x1f'),
    parseInt('12px'),
    parseFloat('3.14abc'),
    Number.MAX_SAFE_INTEGER,
    5e-324,
    2 ** 53 + 2,
    (123.456).toExponential(1),
    NaN ** 0,
    7 % -3,
    -7 % 3,
    1e300 * 1e10,
);
say(
    'integers',
    1 << 31,
    1 << 32,
    -1 >>> 0,
    ~~3.7,
    (2 ** 31) | 0,
    Math.imul(0xffffffff, 5),
    Math.clz32(1),
    (0x7fffffff + 1) | 0,
    -2147483648 / -1,
    Math.fround(0.1),
    Math.hypot(3, 4),
    Math.trunc(-4.7),
    Math.round(-0.5),
    Math.sign(-3),
);

const bytes = new Uint8Array(16),
    view = new DataView(bytes.buffer);
view.setFloat64(0, Math.PI);
view.setInt32(8, -2, true);
view.setBigUint64(8, 0x0123456789abcdefn);
new Uint8ClampedArray(bytes.buffer).set([300, -5, 1.5], 0);
say(
    'buffers',
    bytes,
    view.getFloat32(4),
    new Int16Array(bytes.buffer, 8, 4),
    new Float32Array([1.1, 2.2]).map((x) => x * 2),
    Array.from(bytes.subarray(3, 6)),
    new Uint16Array([3, 1, 2]).sort(),
);

const map = new Map([
    [NaN, 1],
    [0, 2],
    ['k', 3],
]);
map.delete(0);
map.set(-0, 4);
say(
    'collections',
    show([...map]),
    show([...new Set([3, 1, 3, 2])]),
    new WeakMap([[map, 1]]).has(map),
    Object.entries({ b: 1, a: 2 }),
    show(Object.fromEntries(map)),
    [3, 1, 2].toString(),
    [10, 9, 1].sort(),
    [1, 2, 3, 4].findLast((x) => x % 2),
    [5, 1, 4].toSorted(),
);
const people = Array.from({ length: 40 }, (_, at) => ({ age: (at * 7) % 5, at }));
people.sort((p, q) => p.age - q.age);
say(
    'stable sort',
    people.map((p) => p.at),
);

say(
    'text',
    'ß'.toUpperCase(),
    'İ'.toLowerCase().length,
    '\u0041\u030a'.normalize('NFC').length,
    'abc'.padStart(6, '12'),
    'x'.codePointAt(0),
    String.raw`\n${1}`,
    ' trim '.trim(),
    encodeURIComponent('é&='),
    decodeURI('%E2%82%AC'),
    escape('ü'),
    'abcdef'.at(-2),
    'a-b-c'.replaceAll('-', '+'),
    'résumé' < 'rest',
    'b'.localeCompare('a'),
);
say(
    'dates',
    new Date(Date.UTC(2024, 1, 29, 12, 34, 56, 789)).toISOString(),
    Date.parse('1970-01-02T00:00:00Z'),
    new Date(8.64e15).getTime(),
    new Date(NaN).getTime(),
    new Date('2024-03-31T01:30:00Z').getUTCDay(),
);
say(
    'json',
    JSON.stringify(
        { u: undefined, n: null, d: new Date(0), f() {}, a: [undefined], s: '\u2028"\ud800', nested: { x: [1, { y: 2 }] } },
        null,
        1,
    ),
    JSON.parse('{"__proto__":1,"a":[1e3,"\\u00e9"]}', (k, v) => (typeof v === 'number' ? v + 1 : v)).a,
);

const fails = (what) => {
    try {
        what();
        return 'no error';
    } catch (error) {
        return error.constructor.name;
    }
};
say(
    'errors',
    fails(() => null.x),
    fails(() => undefinedName),
    fails(() => {
        const x = 1;
        x = 2;
    }),
    fails(() => new Array(-1)),
    fails(() => JSON.parse('{')),
    fails(() => 1n + 1),
    fails(() => 'x'.repeat(-1)),
    fails(
        () =>
            new (class {
                constructor() {
                    return new.target.missing();
                }
            })(),
    ),
    fails(() => decodeURIComponent('%')),
    fails(() => Symbol() + ''),
);
const order = [];
const finallys = () => {
    for (const x of [1, 2, 3]) {
        try {
            if (x === 2) continue;
            order.push(x);
            if (x === 3) return 'r';
        } finally {
            order.push('f' + x);
        }
    }
};
outer: for (let i = 0; ; i++) {
    for (let j = 0; j < 5; j++) {
        if (j === i) continue outer;
        if (i * j > 5) {
            order.push(i + '.' + j);
            break outer;
        }
    }
    if (i > 10) break;
}
say(
    'control',
    finallys(),
    order,
    (() => {
        switch (3) {
            case 1:
                return 'a';
            default:
                order.push('d');
            case 2:
                return 'b';
        }
    })(),
    [1, 2, 3].reduceRight((s, x) => s + x, ''),
    ((x, y = x + 1, ...z) => x + y + z.length)(1, undefined, 3, 4),
);

const steps = [];
const sleep = async (name, rounds) => {
    for (let at = 0; at < rounds; at++) {
        steps.push(name + at);
        await null;
    }
    return name;
};
(async () => {
    const all = await Promise.allSettled([sleep('a', 3), sleep('b', 1), Promise.reject(new RangeError('no'))]);
    async function* ticks() {
        for (let at = 0; at < 3; at++) yield at;
    }
    let sum = 0;
    for await (const tick of ticks()) sum += tick;
    say(
        'promises',
        steps,
        show(all.map((x) => x.status)),
        await Promise.race([sleep('c', 2), sleep('d', 1)]),
        await Promise.any([Promise.reject(1), 2]),
        sum,
    );
})();
