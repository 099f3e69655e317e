//! Samples written by hand, as a compiler would encode them.

use super::*;

const I32: (i64, i64) = (i32::MIN as i64, i32::MAX as i64);

/// Samples on the probe values of a range, with a generic one first as the packer gives them.
fn samples(lo: i64, hi: i64, align: u8, encode: impl Fn(i64) -> Vec<u8>) -> Vec<Sample> {
    let values = probe_values(lo, hi, align);
    let generic = values.iter().copied().find(|value| !is_special(*value));
    generic
        .into_iter()
        .chain(values)
        .map(|value| Sample {
            value,
            code: encode(value),
        })
        .collect()
}

/// `sub $value` written as `lea -value(%rdi), %r15d`, or `r < value` as `cmp $(value - 1), %edi`.
fn with_imm32(opcode: &[u8], value: i64) -> Vec<u8> {
    [opcode, &(value as i32).to_le_bytes()].concat()
}

fn word(word: u64) -> Vec<u8> {
    (word as u32).to_le_bytes().to_vec()
}

fn only_field(template: &Template) -> (usize, u8, Field) {
    assert_eq!(template.fields.len(), 1, "{template:?}");
    let located = &template.fields[0];
    assert_eq!(located.kind.fields.len(), 1, "{template:?}");
    (located.offset, located.kind.window, located.kind.fields[0])
}

fn field(start: u8, end: u8, shift: u8, negate: bool, addend: i64) -> Field {
    Field {
        start,
        end,
        shift,
        negate,
        addend,
    }
}

#[test]
fn a_plain_displacement_is_one_window() {
    let template = fit(&samples(I32.0, I32.1, 0, |v| {
        with_imm32(&[0x44, 0x8d, 0xbf], v)
    }))
    .unwrap();
    assert_eq!(only_field(&template), (3, 4, field(0, 32, 0, false, 0)));
    assert_eq!(template.code, [0x44, 0x8d, 0xbf, 0, 0, 0, 0]);
    assert_eq!(template.disagreeing, [0i64; 0]);
    assert_eq!(
        (template.fields[0].kind.lo, template.fields[0].kind.hi),
        I32
    );
}

#[test]
fn negated_and_shifted_values_are_affine() {
    let negated = fit(&samples(I32.0 + 1, I32.1, 0, |v| {
        with_imm32(&[0x8d, 0x87], -v)
    }))
    .unwrap();
    assert_eq!(only_field(&negated), (2, 4, field(0, 32, 0, true, 0)));
    let less = fit(&samples(-128, 127, 0, |v| vec![0x83, 0xf8, (v - 1) as u8])).unwrap();
    assert_eq!(only_field(&less), (2, 1, field(0, 8, 0, false, -1)));
    let wide = fit(&samples(i64::MIN, i64::MAX, 0, |v| {
        [&[0x48, 0xb8][..], &v.to_le_bytes()].concat()
    }));
    assert_eq!(
        only_field(&wide.unwrap()),
        (2, 8, field(0, 64, 0, false, 0))
    );
}

#[test]
fn a_scaled_value_leaves_the_low_bits_alone() {
    // call *value*8(%rax)
    let scaled = samples(0, (1 << 28) - 1, 0, |v| with_imm32(&[0xff, 0x90], v * 8));
    let template = fit(&scaled).unwrap();
    let (offset, window, found) = only_field(&template);
    assert_eq!((offset, window), (2, 4));
    assert_eq!((found.start, found.shift, found.addend), (3, 0, 0));
    for sample in &scaled {
        assert_eq!(apply(&template, sample.value), sample.code);
    }
}

#[test]
fn slots_are_multiples_of_eight() {
    let template = fit(&samples(-128, I32.1 & !7, 3, |v| {
        with_imm32(&[0x49, 0x8b, 0xbe], v)
    }))
    .unwrap();
    assert_eq!(only_field(&template), (3, 4, field(0, 32, 0, false, 0)));
    assert_eq!(template.fields[0].kind.align, 3);
    let near = fit(&samples(-128, 120, 3, |v| vec![0x49, 0x8b, 0x7e, v as u8])).unwrap();
    assert_eq!(only_field(&near), (3, 1, field(0, 8, 0, false, 0)));
}

#[test]
fn special_encodings_are_no_counter_examples_but_are_reported() {
    // add: inc for 1, dec for -1, nothing for 0, sub -128 for 128; one of them as long as the template.
    let all = samples(I32.0, I32.1, 0, |v| match v {
        0 => vec![],
        1 => vec![0xff, 0xc0],
        -1 => vec![0xff, 0xc8],
        128 => vec![0x83, 0xe8, 0x80],
        4 => vec![0x8d, 0x44, 0x27, 0x04, 0x90],
        v => with_imm32(&[0x05], v),
    });
    let template = fit(&all).unwrap();
    assert_eq!(only_field(&template), (1, 4, field(0, 32, 0, false, 0)));
    assert_eq!(template.disagreeing, [-1, 0, 1, 4, 128]);
}

#[test]
fn less_than_the_least_integer_is_reported() {
    // r < v as cmp $(v - 1); setle. At the least integer clang writes a constant; the template would compare with the
    // greatest integer, which is always true.
    let all = samples(I32.0, I32.1, 0, |v| match v {
        v if v == I32.0 => vec![0x31, 0xc0],
        v => [with_imm32(&[0x3d], v - 1), vec![0x0f, 0x9e, 0xc0]].concat(),
    });
    let template = fit(&all).unwrap();
    assert_eq!(only_field(&template), (1, 4, field(0, 32, 0, false, -1)));
    assert_eq!(template.disagreeing, [I32.0]);
    let wrong = apply(&template, I32.0);
    assert_eq!(wrong[1..5], i32::MAX.to_le_bytes());
}

#[test]
fn one_value_may_fill_several_places() {
    let all = samples(I32.0, I32.1, 0, |v| {
        [with_imm32(&[0x3d], v), with_imm32(&[0xb8], v - 7)].concat()
    });
    let template = fit(&all).unwrap();
    assert_eq!(template.fields.len(), 2);
    assert_eq!(template.fields[1].kind.fields[0].addend, -7);
    let expected = [
        with_imm32(&[0x3d], 0x1234_5678),
        with_imm32(&[0xb8], 0x1234_5671),
    ]
    .concat();
    assert_eq!(apply(&template, 0x1234_5678), expected);
}

#[test]
fn aarch64_moves_split_a_constant_over_words() {
    let all = samples(0, u32::MAX.into(), 0, |v| {
        let v = v as u64;
        [
            word(0x5280_0008 | (v & 0xffff) << 5),
            word(0x72a0_0008 | (v >> 16) << 5),
        ]
        .concat()
    });
    let template = fit_in(&all, Windows::Words).unwrap();
    assert_eq!(template.fields.len(), 2);
    assert_eq!(template.fields[0].kind.fields, [field(5, 21, 0, false, 0)]);
    assert_eq!(template.fields[1].kind.fields, [field(5, 21, 16, false, 0)]);
    assert_eq!(
        (template.fields[1].offset, template.fields[1].kind.window),
        (4, 4)
    );
    assert_eq!(template.disagreeing, [0i64; 0]);
}

#[test]
fn an_aarch64_shift_has_two_adjacent_fields() {
    // lsl w, w, #v is ubfm with immr = -v mod 32 and imms = 31 - v.
    let all = samples(0, 31, 0, |v| {
        let v = v as u64;
        word(0x5300_0000 | (v.wrapping_neg() & 31) << 16 | (31 - v) << 10)
    });
    let template = fit_in(&all, Windows::Words).unwrap();
    for sample in &all {
        assert_eq!(apply(&template, sample.value), sample.code);
    }
}

#[test]
fn riscv_stores_split_and_upper_immediates_round() {
    let store = samples(-2048, 2047, 0, |v| {
        let v = v as u64;
        word(0x0000_3023 | (v & 0x1f) << 7 | (v >> 5 & 0x7f) << 25)
    });
    let template = fit_in(&store, Windows::Words).unwrap();
    assert_eq!(
        template.fields[0].kind.fields,
        [field(7, 12, 0, false, 0), field(25, 32, 5, false, 0)]
    );
    let upper = samples(I32.0, I32.1 - 0x800, 0, |v| {
        let v = v as u64;
        [
            word(0x0000_0537 | v.wrapping_add(0x800) >> 12 << 12),
            word(0x0005_0513 | v << 20),
        ]
        .concat()
    });
    let template = fit_in(&upper, Windows::Words).unwrap();
    assert_eq!(
        template.fields[0].kind.fields,
        [field(12, 32, 12, false, 0x800)]
    );
    assert_eq!(template.fields[1].kind.fields, [field(20, 32, 0, false, 0)]);
    assert_eq!(template.disagreeing, [0i64; 0]);
}

#[test]
fn what_is_no_field_is_refused() {
    let mixed = samples(I32.0, I32.1, 0, |v| with_imm32(&[0x05], v ^ v >> 7));
    assert!(matches!(fit(&mixed), Err(FitError::NotAffine(_))));
    let squared = samples(I32.0, I32.1, 0, |v| with_imm32(&[0x05], v.wrapping_mul(v)));
    assert!(matches!(fit(&squared), Err(FitError::NotAffine(_))));
    let same = samples(I32.0, I32.1, 0, |_| vec![0x90]);
    assert_eq!(fit(&same), Err(FitError::Constant));
    assert_eq!(fit(&[]), Err(FitError::TooFew(0)));
}

#[test]
fn probe_values_cover_what_the_rule_asks_for() {
    assert_eq!(probe_values(-128, 127, 0).len(), 256);
    assert_eq!(
        probe_values(-128, 120, 3),
        (-16..=15).map(|v| v * 8).collect::<Vec<_>>()
    );
    assert_eq!(probe_values(3, 2, 0), [0i64; 0]);
    for (lo, hi, align) in [
        (I32.0, I32.1, 0),
        (0, u32::MAX.into(), 0),
        (-128, I32.1 & !7, 3),
        (i64::MIN, i64::MAX, 0),
    ] {
        let values = probe_values(lo, hi, align);
        assert!(values.is_sorted());
        assert!(values.contains(&lo) && values.contains(&hi));
        assert!(
            values
                .iter()
                .all(|v| (lo..=hi).contains(v) && v % (1 << align) == 0)
        );
        let generic = values.iter().filter(|value| !is_special(**value)).count();
        assert!(generic >= 32, "{generic} generic values in {lo}..={hi}");
        for power in align.into()..62 {
            assert_eq!(values.contains(&(1i64 << power)), 1i64 << power <= hi);
        }
        assert_eq!(values, probe_values(lo, hi, align));
    }
}

#[test]
fn generic_values_are_those_without_a_pattern() {
    for value in [
        0,
        1,
        -1,
        5,
        0xff,
        0xffff,
        0x100,
        -0x8000,
        I32.0,
        I32.1,
        i64::MIN,
        0xff00,
        0xffff_0000,
    ] {
        assert!(is_special(value), "{value:#x}");
    }
    for value in [83, -78, 107, 86, 11, 0x1234_567b, 0x93b5_a7d1, -0x2345_678d] {
        assert!(!is_special(value), "{value:#x}");
    }
}
