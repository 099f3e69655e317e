// Two libraries at work, bundled by esbuild: one in TypeScript, of many files, one in JavaScript.
import { from, interval, range, zip, EMPTY, of } from './sources/rxjs/src/index';
import {
    bufferCount,
    catchError,
    concatMap,
    distinct,
    filter,
    groupBy,
    map,
    mergeMap,
    reduce,
    scan,
    take,
    toArray,
} from './sources/rxjs/src/operators/index';
import * as _ from './sources/lodash/lodash.js';

enum Level {
    Low = 1,
    High = Low << 3,
}
interface Row {
    readonly name: string;
    value: number;
    level?: Level;
}
abstract class Store<T extends Row> {
    protected rows: T[] = [];
    abstract add(row: T): this;
}
class Rows extends Store<Row> {
    add(row: Row) {
        this.rows.push({ ...row, level: row.value > 50 ? Level.High : Level.Low });
        return this;
    }
    get all(): readonly Row[] {
        return this.rows;
    }
}

const rows = _.range(40).reduce(
    (store: Rows, n: number) => store.add({ name: _.camelCase(`row number ${n % 7}`), value: (n * 37) % 101 }),
    new Rows(),
).all;
const say = (what: string, value: unknown) => console.log(what + ' ' + JSON.stringify(value));

say(
    'grouped',
    _.mapValues(_.groupBy(rows, 'name'), (group: Row[]) => _.sumBy(group, 'value')),
);
say('ordered', _.orderBy(rows, ['level', 'value'], ['asc', 'desc']).slice(0, 5));
say(
    'chained',
    _.chain(rows)
        .map('value')
        .filter((n: number) => n % 2)
        .chunk(4)
        .zip()
        .flattenDeep()
        .compact()
        .uniq()
        .value(),
);
say('merged', _.merge({ a: { b: [1, { c: 2 }] } }, { a: { b: [3, { d: 4 }], e: _.cloneDeep(rows[0]) } }));
say('text', [
    _.kebabCase('fooBar BAZ_qux'),
    _.template('<%= a %>-<%- b %>')({ a: 1, b: '<&>' }),
    _.deburr('déjà vu'),
    _.words('one, two & three'),
    _.truncate('a long sentence', { length: 9 }),
]);
say('equal', [_.isEqual(new Map([[1, { a: [1] }]]), new Map([[1, { a: [1] }]])), _.isEqual([1], ['1']), Level[8]]);

range(1, 200)
    .pipe(
        filter((n) => n % 3 === 0),
        map((n) => n * n),
        scan((sum, n) => sum + n, 0),
        bufferCount(10),
        map((group) => group[group.length - 1]),
        toArray(),
    )
    .subscribe((all) => say('range', all));
from(rows)
    .pipe(
        groupBy((row) => row.name),
        mergeMap((group) =>
            group.pipe(
                reduce((sum, row) => sum + row.value, 0),
                map((sum) => [group.key, sum]),
            ),
        ),
        toArray(),
    )
    .subscribe((all) => say('groups', all));
zip(of(1, 2, 3), from(['a', 'b', 'c']))
    .pipe(
        concatMap(([n, text]) => of(n + text, text + n)),
        distinct(),
        toArray(),
    )
    .subscribe((all) => say('zipped', all));
of(1)
    .pipe(
        map(() => {
            throw new Error('thrown');
        }),
        catchError((error) => (say('caught', error.message), EMPTY)),
    )
    .subscribe({ complete: () => say('complete', true) });
from(Promise.resolve(5))
    .pipe(mergeMap(async (n) => n * 2))
    .subscribe((n) => say('promised', n));
void [interval, take];
