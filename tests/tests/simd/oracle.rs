//! What each vector operation gives, by the words of the standard: lane after lane, in integers of 128 bits and in Rust's
//! floats.

/// Memory and context that an operation may read and write.
#[derive(Clone, PartialEq)]
pub struct World {
    pub memory: Vec<u64>,
    pub context: Vec<u64>,
}

/// The width of the lanes in which any quiet NaN is as good as another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Nan {
    F32,
    F64,
}

#[derive(Clone, Copy, Debug)]
pub struct Answer {
    pub bits: u128,
    pub nan: Option<Nan>,
}

impl Answer {
    pub fn exact(bits: u128) -> Self {
        Self { bits, nan: None }
    }

    /// Whether a result is this one. Where a lane is NaN, any quiet NaN will do.
    pub fn admits(&self, got: u128) -> bool {
        let (width, quiet) = match self.nan {
            None => return got == self.bits,
            Some(Nan::F32) => (32, 0x7fc0_0000),
            Some(Nan::F64) => (64, 0x7ff8_0000_0000_0000),
        };
        (0..128).step_by(width).all(|at| {
            let (got, bits) = (lane(got, width, at), lane(self.bits, width, at));
            got == bits || bits & quiet == quiet && got & quiet == quiet
        })
    }
}

/// The lane of that width that begins at that bit.
fn lane(vector: u128, width: usize, at: usize) -> u128 {
    vector >> at & u128::MAX >> (128 - width)
}

fn signed(bits: u128, width: usize) -> i128 {
    (bits << (128 - width)) as i128 >> (128 - width)
}

fn truncated(number: i128, width: usize) -> u128 {
    number as u128 & u128::MAX >> (128 - width)
}

/// Every lane from those of the operands at the same place.
fn each(width: usize, f: impl Fn(usize) -> u128) -> u128 {
    (0..128)
        .step_by(width)
        .fold(0, |vector, at| vector | f(at) << at)
}

fn f32_of(bits: u128) -> f32 {
    f32::from_bits(bits as u32)
}

fn f64_of(bits: u128) -> f64 {
    f64::from_bits(bits as u64)
}

fn bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// The little-endian number of that many bits at a byte offset.
pub fn read(words: &[u64], at: u128, width: usize) -> u128 {
    let bytes = bytes(&words[at as usize / 8..(at as usize / 8 + 4).min(words.len())]);
    (0..width / 8).fold(0, |value, index| {
        value | u128::from(bytes[at as usize % 8 + index]) << (8 * index)
    })
}

/// Puts one there.
pub fn write(words: &mut [u64], at: u128, width: usize, value: u128) {
    for index in 0..width / 8 {
        let at = at as usize + index;
        let shift = at % 8 * 8;
        let byte = u64::from((value >> (8 * index)) as u8);
        words[at / 8] = words[at / 8] & !(0xff << shift) | byte << shift;
    }
}

/// The result of an operation, if its name is known; stores change the world.
pub fn answer(
    name: &str,
    operands: &[u128],
    immediates: &[u64],
    world: &mut World,
) -> Option<Answer> {
    let operand = |index: usize| operands.get(index).copied().unwrap_or(0);
    let (a, b, c) = (operand(0), operand(1), operand(2));
    let (shape, word) = name.split_once('.')?;
    if shape == "v128" && (word.starts_with("load") || word.starts_with("store")) {
        return access(word, operands, immediates, world).map(Answer::exact);
    }
    let all = u128::MAX;
    let exact = match (shape, word) {
        ("core", "move_v128") => a,
        ("core", "select_v128") => {
            if c as u32 != 0 {
                a
            } else {
                b
            }
        }
        ("global", "get_v128") => read(&world.context, u128::from(immediates[0]), 128),
        ("global", "set_v128") => {
            write(&mut world.context, u128::from(immediates[0]), 128, a);
            0
        }
        ("global", "far_get_v128") => read(&world.memory, 0, 128),
        ("global", "far_set_v128") => {
            write(&mut world.memory, 0, 128, a);
            0
        }
        ("v128", "const") => u128::from(immediates[1]) << 64 | u128::from(immediates[0]),
        ("v128", "not") => a ^ all,
        ("v128", "and") => a & b,
        ("v128", "andnot") => a & (b ^ all),
        ("v128", "or") => a | b,
        ("v128", "xor") => a ^ b,
        ("v128", "bitselect") => each(1, |at| lane(if lane(c, 1, at) == 1 { a } else { b }, 1, at)),
        ("v128", "any_true") => u128::from(a != 0),
        ("i8x16", "swizzle") => each(8, |at| match lane(b, 8, at) as usize {
            index @ 0..16 => lane(a, 8, 8 * index),
            _ => 0,
        }),
        ("i8x16", "shuffle") => each(8, |at| {
            let index = immediates[at / 64] >> (at % 64) & 31;
            lane(if index < 16 { a } else { b }, 8, 8 * (index as usize % 16))
        }),
        ("i8x16", "popcnt") => each(8, |at| u128::from(lane(a, 8, at).count_ones())),
        _ => {
            let (kind, rest) = shape.split_at(1);
            let width: usize = rest.split_once('x')?.0.parse().ok()?;
            if let Some(answer) = lanes(word, width, a, b, immediates) {
                return Some(Answer::exact(answer));
            }
            return match (kind, width) {
                ("i", _) => integers(word, width, a, b)
                    .or_else(|| from_floats(word, a))
                    .map(Answer::exact),
                ("f", 32) => floats_32(word, a, b),
                ("f", 64) => floats_64(word, a, b),
                _ => None,
            };
        }
    };
    Some(Answer::exact(exact))
}

fn access(word: &str, operands: &[u128], immediates: &[u64], world: &mut World) -> Option<u128> {
    let at = operands[0] + u128::from(immediates[0]);
    let vector = operands.get(1).copied().unwrap_or(0);
    if word == "load" {
        return Some(read(&world.memory, at, 128));
    }
    if word == "store" {
        write(&mut world.memory, at, 128, vector);
        return Some(0);
    }
    let (verb, rest) = word.split_at(word.find(|c: char| c.is_ascii_digit())?);
    let (size, how) = rest.split_once('_')?;
    if let Some((width, _)) = size.split_once('x') {
        let width: usize = width.parse().ok()?;
        let source = read(&world.memory, at, 64);
        return Some(each(2 * width, |to| {
            extended(lane(source, width, to / 2), width, how == "s")
        }));
    }
    let width: usize = size.parse().ok()?;
    let place = || immediates[1] as usize * width;
    let value = || read(&world.memory, at, width);
    Some(match (verb, how) {
        ("load", "splat") => each(width, |_| value()),
        ("load", "zero") => value(),
        ("load", "lane") => each(width, |to| {
            if to == place() {
                value()
            } else {
                lane(vector, width, to)
            }
        }),
        ("store", "lane") => {
            write(&mut world.memory, at, width, lane(vector, width, place()));
            0
        }
        _ => return None,
    })
}

/// To twice the width.
fn extended(bits: u128, width: usize, sign: bool) -> u128 {
    if sign {
        truncated(signed(bits, width), 2 * width)
    } else {
        bits
    }
}

/// Operations on lanes whatever they mean.
fn lanes(word: &str, width: usize, a: u128, b: u128, immediates: &[u64]) -> Option<u128> {
    let place = || immediates[0] as usize * width;
    Some(match word {
        "splat" => each(width, |_| lane(b | a, width, 0)),
        "extract_lane" | "extract_lane_u" => lane(a, width, place()),
        "extract_lane_s" => truncated(signed(lane(a, width, place()), width), 32),
        "replace_lane" => each(width, |at| {
            lane(if at == place() { b << at } else { a }, width, at)
        }),
        _ => return None,
    })
}

fn integers(word: &str, width: usize, a: u128, b: u128) -> Option<u128> {
    let (least, most) = (-1i128 << (width - 1), (1i128 << (width - 1)) - 1);
    let full = (1i128 << width) - 1;
    let s = |vector, at| signed(lane(vector, width, at), width);
    let u = |vector, at| lane(vector, width, at) as i128;
    let sign = word.ends_with("_s");
    // Both operands at one place, as the operation's last letter reads them.
    let pair = |at| {
        if sign {
            (s(a, at), s(b, at))
        } else {
            (u(a, at), u(b, at))
        }
    };
    let number = |f: &dyn Fn(i128, i128) -> i128| {
        each(width, |at| {
            let (a, b) = pair(at);
            truncated(f(a, b), width)
        })
    };
    let truth = |f: &dyn Fn(i128, i128) -> bool| number(&|a, b| if f(a, b) { -1 } else { 0 });
    let count = b as u32 % width as u32;
    let (low, high) = if sign { (least, most) } else { (0, full) };
    let half = width / 2;
    // Lanes of half the width, of the same sign, by number.
    let narrow = |vector, index: usize| {
        let bits = lane(vector, half, index * half);
        if sign {
            signed(bits, half)
        } else {
            bits as i128
        }
    };
    let lanes = 128 / width;
    Some(match word {
        "eq" => truth(&|a, b| a == b),
        "ne" => truth(&|a, b| a != b),
        "lt_s" | "lt_u" => truth(&|a, b| a < b),
        "gt_s" | "gt_u" => truth(&|a, b| a > b),
        "le_s" | "le_u" => truth(&|a, b| a <= b),
        "ge_s" | "ge_u" => truth(&|a, b| a >= b),
        "add" => number(&|a, b| a + b),
        "sub" => number(&|a, b| a - b),
        "mul" => number(&|a, b| a.wrapping_mul(b)),
        "neg" => number(&|a, _| -a),
        "abs" => each(width, |at| truncated(s(a, at).abs(), width)),
        "add_sat_s" | "add_sat_u" => number(&|a, b| (a + b).clamp(low, high)),
        "sub_sat_s" | "sub_sat_u" => number(&|a, b| (a - b).clamp(low, high)),
        "min_s" | "min_u" => number(&|a, b| a.min(b)),
        "max_s" | "max_u" => number(&|a, b| a.max(b)),
        "avgr_u" => number(&|a, b| (a + b + 1) / 2),
        "q15mulr_sat_s" => number(&|a, b| ((a * b + 0x4000) >> 15).clamp(least, most)),
        "shl" => number(&|a, _| a << count),
        "shr_s" | "shr_u" => number(&|a, _| a >> count),
        "all_true" => u128::from((0..128).step_by(width).all(|at| u(a, at) != 0)),
        "bitmask" => (0..lanes).fold(0, |mask, index| {
            mask | u128::from(s(a, index * width) < 0) << index
        }),
        "dot_i16x8_s" => each(width, |at| {
            let product = |index| narrow(a, index) * narrow(b, index);
            let first = at / half;
            truncated(product(first) + product(first + 1), width)
        }),
        _ if word.starts_with("extadd_pairwise") => each(width, |at| {
            let first = at / half;
            truncated(narrow(a, first) + narrow(a, first + 1), width)
        }),
        _ if word.starts_with("extend") || word.starts_with("extmul") => {
            let first = if word.contains("high") { lanes } else { 0 };
            each(width, |at| {
                let index = first + at / width;
                let factor = if word.starts_with("extmul") {
                    narrow(b, index)
                } else {
                    1
                };
                truncated(narrow(a, index) * factor, width)
            })
        }
        // The operands' lanes are twice as wide, and signed whatever the result is.
        _ if word.starts_with("narrow") => each(width, |at| {
            let wide = 2 * at % 128;
            let vector = if at < 64 { a } else { b };
            truncated(
                signed(lane(vector, 2 * width, wide), 2 * width).clamp(low, high),
                width,
            )
        }),
        _ => return None,
    })
}

/// Rust's conversions saturate, and make NaN zero.
fn from_floats(word: &str, a: u128) -> Option<u128> {
    let doubles = |f: &dyn Fn(f64) -> u32| {
        (0..2).fold(0, |vector, index| {
            vector | u128::from(f(f64_of(lane(a, 64, 64 * index)))) << (32 * index)
        })
    };
    Some(match word {
        "trunc_sat_f32x4_s" => each(32, |at| u128::from(f32_of(lane(a, 32, at)) as i32 as u32)),
        "trunc_sat_f32x4_u" => each(32, |at| u128::from(f32_of(lane(a, 32, at)) as u32)),
        "trunc_sat_f64x2_s_zero" => doubles(&|double| double as i32 as u32),
        "trunc_sat_f64x2_u_zero" => doubles(&|double| double as u32),
        _ => return None,
    })
}

macro_rules! floats {
    ($name:ident, $float:ident, $of:ident, $width:literal, $nan:expr, $conversions:ident) => {
        fn $name(word: &str, a: u128, b: u128) -> Option<Answer> {
            let x = |at| $of(lane(a, $width, at));
            let y = |at| $of(lane(b, $width, at));
            let truth = |f: &dyn Fn($float, $float) -> bool| {
                each($width, |at| {
                    if f(x(at), y(at)) {
                        u128::MAX >> (128 - $width)
                    } else {
                        0
                    }
                })
            };
            let arithmetic = |f: &dyn Fn($float, $float) -> $float| {
                each($width, |at| {
                    let result = f(x(at), y(at));
                    u128::from(if result.is_nan() {
                        $float::NAN.to_bits()
                    } else {
                        result.to_bits()
                    })
                })
            };
            let chosen = |f: &dyn Fn($float, $float) -> bool| {
                each($width, |at| {
                    lane(if f(x(at), y(at)) { b } else { a }, $width, at)
                })
            };
            let sign = 1 << ($width - 1);
            let exact = match word {
                "eq" => truth(&|x, y| x == y),
                "ne" => truth(&|x, y| x != y),
                "lt" => truth(&|x, y| x < y),
                "gt" => truth(&|x, y| x > y),
                "le" => truth(&|x, y| x <= y),
                "ge" => truth(&|x, y| x >= y),
                "abs" => each($width, |at| lane(a, $width, at) & !sign),
                "neg" => each($width, |at| lane(a, $width, at) ^ sign),
                "pmin" => chosen(&|x, y| y < x),
                "pmax" => chosen(&|x, y| x < y),
                _ => {
                    let bits = match word {
                        "add" => arithmetic(&|x, y| x + y),
                        "sub" => arithmetic(&|x, y| x - y),
                        "mul" => arithmetic(&|x, y| x * y),
                        "div" => arithmetic(&|x, y| x / y),
                        "sqrt" => arithmetic(&|x, _| x.sqrt()),
                        "ceil" => arithmetic(&|x, _| x.ceil()),
                        "floor" => arithmetic(&|x, _| x.floor()),
                        "trunc" => arithmetic(&|x, _| x.trunc()),
                        "nearest" => arithmetic(&|x, _| x.round_ties_even()),
                        "min" => arithmetic(&|x, y| {
                            if x.is_nan() || y.is_nan() {
                                $float::NAN
                            } else if x < y || x == y && x.is_sign_negative() {
                                x
                            } else {
                                y
                            }
                        }),
                        "max" => arithmetic(&|x, y| {
                            if x.is_nan() || y.is_nan() {
                                $float::NAN
                            } else if x > y || x == y && x.is_sign_positive() {
                                x
                            } else {
                                y
                            }
                        }),
                        _ => $conversions(word, a)?,
                    };
                    return Some(Answer {
                        bits,
                        nan: Some($nan),
                    });
                }
            };
            Some(Answer::exact(exact))
        }
    };
}

floats!(floats_32, f32, f32_of, 32, Nan::F32, to_f32);
floats!(floats_64, f64, f64_of, 64, Nan::F64, to_f64);

fn to_f32(word: &str, a: u128) -> Option<u128> {
    Some(match word {
        "convert_i32x4_s" => each(32, |at| {
            u128::from((lane(a, 32, at) as i32 as f32).to_bits())
        }),
        "convert_i32x4_u" => each(32, |at| {
            u128::from((lane(a, 32, at) as u32 as f32).to_bits())
        }),
        "demote_f64x2_zero" => (0..2).fold(0, |vector, index| {
            let single = f64_of(lane(a, 64, 64 * index)) as f32;
            let bits = if single.is_nan() { f32::NAN } else { single }.to_bits();
            vector | u128::from(bits) << (32 * index)
        }),
        _ => return None,
    })
}

fn to_f64(word: &str, a: u128) -> Option<u128> {
    let from = |at: usize| lane(a, 32, at / 2);
    Some(match word {
        "convert_low_i32x4_s" => each(64, |at| u128::from(f64::from(from(at) as i32).to_bits())),
        "convert_low_i32x4_u" => each(64, |at| u128::from(f64::from(from(at) as u32).to_bits())),
        "promote_low_f32x4" => each(64, |at| {
            let double = f64::from(f32_of(from(at)));
            u128::from(if double.is_nan() { f64::NAN } else { double }.to_bits())
        }),
        _ => return None,
    })
}
