// What esbuild has to complain about.
import { absent } from './libraries';
import './nowhere';
const twice = 1,
    twice = absent;
