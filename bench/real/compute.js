// Programs that compute: interpreters' usual kernels, with a line of result each.
const sieve = (limit) => {
    const composite = new Uint8Array(limit + 1);
    let count = 0;
    for (let n = 2; n <= limit; n++) {
        if (composite[n]) continue;
        count++;
        for (let m = n * n; m <= limit; m += n) composite[m] = 1;
    }
    return count;
};
console.log('primes ' + sieve(400000));

const bodies = [
    [0, 0, 0, 0, 0, 0, 39.47],
    [4.84, -1.16, -0.1, 0.6, 2.81, -0.02, 0.037],
    [8.34, 4.12, -0.4, -1.01, 1.82, 0.008, 0.011],
    [12.8, -15.1, -0.2, 1.08, 0.86, -0.01, 0.0017],
];
for (let step = 0; step < 8000; step++) {
    for (let i = 0; i < bodies.length; i++)
        for (let j = i + 1; j < bodies.length; j++) {
            const [p, q] = [bodies[i], bodies[j]],
                d = [p[0] - q[0], p[1] - q[1], p[2] - q[2]],
                r = d[0] * d[0] + d[1] * d[1] + d[2] * d[2],
                f = 0.001 / (r * Math.sqrt(r));
            for (let k = 0; k < 3; k++) {
                p[3 + k] -= d[k] * q[6] * f;
                q[3 + k] += d[k] * p[6] * f;
            }
        }
    for (const p of bodies) for (let k = 0; k < 3; k++) p[k] += 0.001 * p[3 + k];
}
console.log('bodies ' + bodies.map((p) => p.slice(0, 3).join(',')).join(' '));

const rotate = (x, n) => (x >>> n) | (x << (32 - n));
const primes = [];
for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);
const fraction = (x) => ((x - Math.floor(x)) * 4294967296) | 0,
    K = primes.map((p) => fraction(Math.cbrt(p)));
const sha256 = (text) => {
    const bytes = [...text].map((c) => c.charCodeAt(0)),
        bits = bytes.length * 8,
        h = primes.slice(0, 8).map((p) => fraction(Math.sqrt(p)));
    bytes.push(128);
    while (bytes.length % 64 !== 56) bytes.push(0);
    for (let at = 7; at >= 0; at--) bytes.push(Math.floor(bits / 2 ** (8 * at)) & 255);
    for (let block = 0; block < bytes.length; block += 64) {
        const w = [];
        for (let t = 0; t < 64; t++)
            w[t] =
                t < 16
                    ? (bytes[block + 4 * t] << 24) |
                      (bytes[block + 4 * t + 1] << 16) |
                      (bytes[block + 4 * t + 2] << 8) |
                      bytes[block + 4 * t + 3]
                    : (w[t - 16] +
                          (rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ (w[t - 15] >>> 3)) +
                          w[t - 7] +
                          (rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ (w[t - 2] >>> 10))) |
                      0;
        let [a, b, c, d, e, f, g, i] = h;
        for (let t = 0; t < 64; t++) {
            const x = (i + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + K[t] + w[t]) | 0,
                y = ((rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
            [a, b, c, d, e, f, g, i] = [(x + y) | 0, a, b, c, (d + x) | 0, e, f, g];
        }
        [a, b, c, d, e, f, g, i].forEach((x, at) => (h[at] = (h[at] + x) | 0));
    }
    return h.map((x) => (x >>> 0).toString(16).padStart(8, '0')).join('');
};
console.log('sha256 ' + sha256('abc') + ' ' + sha256('x'.repeat(20000)));

const queens = (n, row = 0, columns = 0, left = 0, right = 0) => {
    if (row === n) return 1;
    let count = 0;
    for (let free = ~(columns | left | right) & ((1 << n) - 1); free; free &= free - 1) {
        const bit = free & -free;
        count += queens(n, row + 1, columns | bit, (left | bit) << 1, (right | bit) >> 1);
    }
    return count;
};
console.log('queens ' + queens(9));

let seed = 42;
const random = () => (seed = (Math.imul(seed, 1103515245) + 12345) & 0x7fffffff) / 0x80000000;
const tree = (depth) => (depth ? { left: tree(depth - 1), right: tree(depth - 1), value: random() } : null),
    sum = (node) => (node ? node.value + sum(node.left) + sum(node.right) : 0);
console.log('trees ' + Array.from({ length: 8 }, () => sum(tree(12))).join(' '));

const words = Array.from({ length: 30000 }, () => Math.floor(random() * 5000).toString(36)),
    counts = new Map();
for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
console.log(
    'words ' +
        [...counts]
            .sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1))
            .slice(0, 8)
            .join(' ') +
        ' ' +
        words.join(' ').replace(/\b(\w)(\w*)/g, (_, x, y) => y + x).length,
);

let pi = '';
for (let [q, r, t, k, n, l] = [1n, 0n, 1n, 1n, 3n, 3n]; pi.length < 300;) {
    if (4n * q + r - t < n * t) {
        pi += n;
        const next = 10n * (r - n * t);
        n = (10n * (3n * q + r)) / t - 10n * n;
        q *= 10n;
        r = next;
    } else {
        const next = (2n * q + r) * l;
        n = (q * (7n * k) + 2n + r * l) / (t * l);
        q *= k;
        t *= l;
        l += 2n;
        k += 1n;
        r = next;
    }
}
console.log('pi ' + pi);
console.log(
    'json ' +
        JSON.stringify(
            JSON.parse(
                JSON.stringify(
                    Array.from({ length: 2000 }, (_, at) => ({ at, text: 'é"' + at, half: at / 2, list: [at, [at]] })),
                ),
            ),
        ).length,
);
